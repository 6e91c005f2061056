"""GET, POST and DELETE /v1/keys: the keys of the caller's own tenant."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Response

from matchka.api.answers.service import KeyAnswer, KeysAnswer, NewKeyAnswer
from matchka.api.dependencies import CallerDep
from matchka.api.forms import KeyForm, body_schema, reads
from matchka.api.location import LOCATION, location_of
from matchka.api.routing import GuardedRouter
from matchka.store.keys.keys import CEILINGS, NewKey
from matchka.store.keys.records import ApiKey, Ceilings, KeySpec
from matchka.store.keys.scopes import read_scopes, write_scopes

router = GuardedRouter(tags=["keys"])


@router.get("/v1/keys", summary="List the API keys")
async def list_keys(caller: CallerDep) -> KeysAnswer:
    """The keys of the caller's tenant, revoked ones included, without their secrets."""
    found = await caller.run(lambda: caller.verifier.keys.list_keys(caller.tenant))
    return KeysAnswer(keys=[KeyAnswer(**_described(key)) for key in found])


@router.post(
    "/v1/keys",
    status_code=201,
    openapi_extra=body_schema(KeyForm),
    responses={201: {"headers": LOCATION}},
    summary="Make an API key",
)
async def create_key(
    caller: CallerDep, response: Response, form: Annotated[KeyForm, Depends(reads(KeyForm))]
) -> NewKeyAnswer:
    """A key of the caller's tenant, in force here at once, and everywhere within a second.

    Its secret is in this answer and nowhere else.
    """
    spec = KeySpec(
        form.name,
        caller.tenant,
        read_scopes(form.scopes),
        Ceilings(**{name: getattr(form, name) for name in CEILINGS}),
        None if form.lifetime_s is None else timedelta(seconds=form.lifetime_s),
    )

    def create() -> NewKey:
        made = caller.verifier.keys.create(spec)
        caller.state.keys.read(caller.verifier.keys)
        return made

    made = await caller.run(create)
    response.headers.update(location_of("/v1/keys", made.key.key_id))
    return NewKeyAnswer(key=made.secret, **_described(made.key))


@router.delete("/v1/keys/{key_id}", status_code=204, summary="Revoke an API key")
async def revoke_key(caller: CallerDep, key_id: str) -> Response:
    """The key opens nothing any more: here at once, and everywhere within a second; it stays in the list."""

    def revoke() -> None:
        caller.verifier.keys.revoke(key_id, caller.tenant)
        caller.state.keys.read(caller.verifier.keys)

    await caller.run(revoke)
    return Response(status_code=204)


def _described(key: ApiKey) -> dict[str, Any]:
    return {
        **{name: getattr(key, name) for name in KeyAnswer.model_fields if hasattr(key, name)},
        **{name: getattr(key.ceilings, name) for name in CEILINGS},
        "scopes": write_scopes(key.scopes).split(),
    }
