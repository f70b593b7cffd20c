"""Asking a server of the stack over HTTP, with errors that fit on one line."""

from __future__ import annotations

from collections.abc import Mapping

import requests

from gpu_sentinel.addresses import cause, has_login, without_password
from gpu_sentinel.alerting.fetch import Fetched, TooLongError, fetch
from gpu_sentinel.alerting.shape import Answer, ApiError


class Api:
    """A server at a URL such as `https://user:password@host:9093`.

    Attributes:
        name: what the server is called in messages.
        option: how a person names another one.
        login_option: how a person names another user or password.
    """

    name = "server"
    option = "--url"
    login_option = "--data-dir or --credentials-file"

    def __init__(
        self,
        url: str,
        timeout: float = 5.0,
        ca_file: str | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        """`login` is user and password; those in the URL come first."""
        self._url = url.rstrip("/")
        self._login = None if has_login(url) else login
        self._timeout = timeout
        self._verify: bool | str = ca_file or True

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """What a path of the server answers, as JSON; null where it says nothing.

        Raises:
            ApiError: it does not answer, refuses, or answers something else.
        """
        try:
            answer = fetch(
                method,
                f"{self._url}{path}",
                timeout=self._timeout,
                json=body,
                data=form,
                verify=self._verify,
                auth=self._login,
            )
        except requests.exceptions.SSLError as error:
            raise ApiError(
                f"{self._shown}: no trusted TLS ({cause(error)}): name the CA with --ca-file"
            ) from None
        except requests.Timeout:
            raise ApiError(
                f"no answer from {self.name} at {self._shown} within {self._timeout:g} s"
            ) from None
        except TooLongError:
            raise ApiError(f"{self._source(path)}: the answer is too long to be one") from None
        except requests.TooManyRedirects:
            raise ApiError(f"{self._source(path)}: it redirects without an end") from None
        except (requests.RequestException, ValueError, OSError) as error:
            raise ApiError(
                f"no {self.name} answers at {self._shown} ({cause(error)}): start one with "
                f"`gpu-sentinel up`, or name another with {self.option}"
            ) from None
        if not answer.ok:
            raise ApiError(self._refused(path, answer))
        return Answer.read(self._source(path), answer.body)

    def _refused(self, path: str, answer: Fetched) -> str:
        if answer.status == requests.codes.unauthorized:
            return (
                f"{self._shown} answers 401: these are not its passwords: name its own with "
                f"{self.login_option}"
            )
        said = " ".join(answer.text[:1000].split())[:200]
        if "HTTP request to an HTTPS server" in said:
            return f"{self._shown} takes HTTPS alone: write https://, or name {self.login_option}"
        return f"{self.name} answers {answer.status} to {path}: {said}"

    def _source(self, path: str) -> str:
        """Who was asked for what."""
        return f"{self.name} at {self._shown}: {path.partition('?')[0]}"

    @property
    def _shown(self) -> str:
        return without_password(self._url)


__all__ = ["Api", "ApiError"]
