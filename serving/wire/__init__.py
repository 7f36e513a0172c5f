"""Messages of TensorFlow Serving's API under our own package name, so that no TensorFlow is needed.

The field numbers are the contract; the names `convoy.wire.*` keep these messages apart from
`tensorflow.serving.*` in protobuf's pool, where both live when server and client share a process.
"""
