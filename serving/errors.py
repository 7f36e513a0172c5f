"""What can go wrong in serving, as one tree.

ServingError
├── StoreError              the store refused: a name, a version, a manifest, a damaged file
├── ConfigError             a server's flag or configuration file is wrong
├── RequestError            a server refuses a request; carries the status code of the answer
└── CallError               a call made by the client failed; carries the server's code and message
    ├── ServerUnavailable   nobody answers at the address, or it keeps saying UNAVAILABLE
    ├── DeadlineExceeded    no answer within the timeout
    ├── ModelNotFound       the server has no such model or version
    ├── RequestRejected     the server found the request wrong; sending it again will not help
    └── AccessRefused       TLS, a certificate or a token was not accepted
"""


class ServingError(Exception):
    """Anything that this package raises on purpose."""


class StoreError(ServingError):
    """The store refused; nothing was changed."""


class ConfigError(ServingError):
    """A flag or a configuration of the server is wrong. `code`: who sent it by request gets it."""

    def __init__(self, message: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.code = code


class RequestError(ServingError):
    """A request that the server refuses. `code` is a gRPC status name, such as "NOT_FOUND"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CallError(ServingError):
    """A call that failed. `code` is the gRPC status name, `details` the server's own words."""

    def __init__(self, message: str, code: str, details: str) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class ServerUnavailable(CallError):
    """Nobody answers at the address, or the server said UNAVAILABLE until the deadline."""


class DeadlineExceeded(CallError):
    """No answer within the timeout."""


class ModelNotFound(CallError):
    """The server has no such model or version."""


class RequestRejected(CallError):
    """The server found the request wrong; sending it again will not help."""


class AccessRefused(CallError):
    """The server did not accept who is calling."""
