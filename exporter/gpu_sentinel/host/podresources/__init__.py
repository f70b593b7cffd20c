"""Who holds a GPU, asked of the kubelet: its pod-resources API, with the standard library alone.

grpcio costs 25 MiB and seven threads, the `h2` package 5 MiB: too much for one call every ten
seconds. `source` asks and keeps the answer, `http2` makes the call, `messages` reads what came, and
`devices` says which GPU is meant.
"""
