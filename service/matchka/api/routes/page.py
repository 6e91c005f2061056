"""GET /: the page, made of files that the package holds, so that a browser asks no other host."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

WEB: Final = Path(__file__).parents[2] / "web"
FILES: Final = StaticFiles(directory=WEB, check_dir=False)
# What the page may do: run and load its own files, ask this service, play what it recorded; and make no code of text.
HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """The page."""
    return FileResponse(WEB / "index.html", headers=HEADERS)


@router.get("/page/{path:path}")
async def page_file(path: str, request: Request) -> Response:
    """A file of the page."""
    return await FILES.get_response(path, request.scope)
