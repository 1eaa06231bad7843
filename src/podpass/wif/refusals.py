# SPDX-License-Identifier: Apache-2.0
"""The answers of Google's security token service to what it refuses, word for word.

Each says on what basis it stands: [R] Google's reference, [M] measured by others who published it, [K] general knowledge, [?] a guess.
"""

from podpass.wif.judgement import Refusal

_CONNECTING = "Error connecting to the given credential's issuer."
_UNPARSABLE = "Unable to parse the ID Token."

# [M] The audience field is not a provider's full name; `https:` before it is enough.
AUDIENCE_FIELD = Refusal(
    "invalid_request", 'Invalid value for "audience". This value should be the full resource name of the Identity Provider.'
)
# [M] The pool or the provider is missing, disabled or deleted.
TARGET = Refusal(
    "invalid_target",
    'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or'
    " deleted or because it doesn't exist.",
)
# [M] Not a JWT.
PARSE = Refusal("invalid_grant", _UNPARSABLE)
# [R][M] Discovery or key fetch fails, the key id is unknown, or the key's type cannot be used.
KEYS = Refusal("invalid_grant", _CONNECTING)
# [M] The signature is wrong for a known key id.
SIGNATURE = Refusal("invalid_grant", "Unable to verify the ID Token signature.")
# [M] The condition is false; also when `sub` is missing while a condition exists.
CONDITION = Refusal("unauthorized_client", "The given credential is rejected by the attribute condition.")
# [R] Longer than 127 bytes.
SUBJECT_SIZE = Refusal(
    "invalid_request",
    "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming"
    " assertion to produce a mapped attribute that is less than 127 bytes.",
)
# [?] The reference has the limit, nobody has published the text.
ATTRIBUTES_SIZE = Refusal("invalid_request", "The total size of the mapped attributes exceeds the 8 KB limit.")
# [M] HTTP 500 for a token with 1 s left; what it says is not known. [?]
INTERNAL = Refusal("server_error", "Internal error encountered.", http_status=500)


def audience(found: tuple[str, ...]) -> Refusal:
    """Answer to an `aud` that is not allowed; without `aud` the brackets are empty [M]; how several are joined is a guess [?]."""
    return Refusal("invalid_grant", f"The audience in ID Token [{', '.join(found)}] does not match the expected audience.")


def issuer(found: object, wanted: str) -> Refusal:
    """Answer to another `iss`; `null` when it is absent [M]."""
    shown = "null" if found is None else found
    return Refusal("invalid_grant", f"The issuer in ID Token {shown} does not match the expected one in config: {wanted}.")


def stale(issued_at: object) -> Refusal:
    """Answer to a token used outside its time, or without `iat` or `exp`; `null` when there is no `iat` [M]."""
    return Refusal("invalid_grant", f"ID Token issued at {'null' if issued_at is None else issued_at} is stale to sign-in.")


def attribute_type(attribute: str) -> Refusal:
    """Answer to a mapped attribute that is not a string: the text is [R], the code and the type named for groups are [?]."""
    wanted = "LIST<STRING>" if attribute == "google.groups" else "STRING"
    return Refusal("invalid_request", f"The mapped attribute '{attribute}' must be of type {wanted}")
