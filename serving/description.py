"""What a server says about its models: the state of each version, and the signatures of one."""

from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.errors import RequestError
from serving.registry import Registry
from serving.spec import check_spec, read_query
from serving.version import Version


def status(registry: Registry, request: Any) -> Any:
    """The GetModelStatusResponse. Raises RequestError."""
    check_spec(request)
    query = read_query(request.model_spec)  # its label is ignored, as there
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in registry.versions(query.model, query.version):
        _write_status(response.model_version_status.add(), version)
    return response


def metadata(registry: Registry, request: Any) -> Any:
    """The GetModelMetadataResponse. Raises RequestError."""
    check_spec(request)
    if not request.metadata_field:
        raise RequestError(
            "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"
        )
    for name in request.metadata_field:
        if name != "signature_def":
            raise RequestError("INVALID_ARGUMENT", f"Metadata field {name} is not supported")
    query = read_query(request.model_spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with registry.use(query.model, query.version, query.label) as (version, servable):
        for name, definition in servable.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = query.model
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(signatures)
    return response


def _write_status(status: Any, version: Version) -> None:
    status.version = version.number
    status.state = version.state.value
    if version.error:
        status.status.error_code = version.error_code
        status.status.error_message = version.error
    else:
        status.status.SetInParent()
