"""The wire as tests see it: the API's events and answers, and a server that plays back exact bytes.

What belongs here: what the tests of several rooms need of the other side. `events` builds the API's events as JSON
values, `answers` puts them into bytes and into HTTP, `server` sends those bytes, `tls` has certificates, and `sockets`
looks at sockets below HTTP. What does not: checks of the library (each test module), and users' test doubles
(`trio_stream.testing`).
"""
