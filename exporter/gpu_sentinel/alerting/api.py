"""Asking a server of the stack over HTTP, with errors that fit on one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from gpu_sentinel.addresses import cause, without_password


class ApiError(Exception):
    """One line: who was asked for what, and why it was not done."""


class Api:
    """A server at a URL such as `https://user:password@host:9093`.

    Attributes:
        name: what the server is called in messages.
        option: how a person names another one.
    """

    name = "server"
    option = "--url"

    def __init__(self, url: str, timeout: float = 5.0, ca_file: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._verify: bool | str = ca_file or True

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Any:
        """What a path of the server answers, as JSON; None where it says nothing.

        Raises:
            ApiError: it does not answer, or refuses.
        """
        try:
            answer = requests.request(
                method,
                f"{self._url}{path}",
                json=body,
                data=form,
                timeout=self._timeout,
                verify=self._verify,
            )
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except requests.HTTPError as error:
            raise ApiError(self._refused(path, error.response)) from None
        except requests.exceptions.SSLError as error:
            raise ApiError(
                f"{self._shown}: no trusted TLS ({cause(error)}): name the CA with --ca-file"
            ) from None
        except requests.Timeout:
            raise ApiError(
                f"no answer from {self.name} at {self._shown} within {self._timeout:g} s"
            ) from None
        except requests.exceptions.JSONDecodeError:
            raise ApiError(f"{self._shown} is no {self.name}: it answers something else") from None
        except (requests.RequestException, ValueError, OSError) as error:
            raise ApiError(
                f"no {self.name} answers at {self._shown} ({cause(error)}): start one with "
                f"`gpu-sentinel up`, or name another with {self.option}"
            ) from None

    def _refused(self, path: str, answer: requests.Response) -> str:
        if answer.status_code == requests.codes.unauthorized:
            return f"{self._shown} answers 401: give a user and a password in the URL"
        said = " ".join(answer.text.split())[:200]
        return f"{self.name} answers {answer.status_code} to {path}: {said}"

    @property
    def _shown(self) -> str:
        return without_password(self._url)
