"""GET /openapi.json, and /docs: Swagger UI out of an installed package, so that a browser asks no other host."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from matchka.errors import UnknownPathError

PACKAGE: Final = "fastapi_swagger.resources"  # Swagger UI's own files; nothing else of the package is used
MEDIA_TYPES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# Addresses are relative, so that the page works behind a proxy's prefix as well.
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>matchka</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Without the validator's address Swagger UI would send the document's to a host of its makers.
START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # the pictures in Swagger UI's style sheet
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs() -> Response:
    """The page; what it may load is the content security policy's."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
async def start() -> Response:
    """What the page runs: a file, because the policy allows no script within it."""
    return Response(START, media_type="text/javascript")


@router.get("/docs/{name}")
async def swagger_ui_file(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in MEDIA_TYPES:
        raise UnknownPathError("The page has no such file.", value=name, remedy="See /docs for the calls.")
    return FileResponse(Path(str(files(PACKAGE) / name)), media_type=MEDIA_TYPES[name])
