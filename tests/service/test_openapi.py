"""Whatever the OpenAPI document allows, and much that it does not, is answered as it promises."""

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fmnist_utils.service import app

schemathesis.serializer.alias(["image/bmp", "image/tiff"], "application/octet-stream")
schema = schemathesis.openapi.from_asgi("/openapi.json", app.create_app())


@schema.parametrize()
@hypothesis.settings(
    max_examples=25, suppress_health_check=list(hypothesis.HealthCheck), deadline=None
)
def test_no_request_breaks_it(case):
    # Without training images /v1/similar tells so with 503, as documented.
    response = case.call()
    if case.path != "/v1/similar" or response.status_code != 503:
        case.validate_response(
            response,
            checks=[
                not_a_server_error,
                content_type_conformance,
                response_schema_conformance,
                status_code_conformance,
            ],
        )
