"""Holds a raw JSON reply of FIS, SQS, EventBridge or SSM against the shape that botocore's model of the service gives it.

botocore itself reads leniently: it drops members it does not know, takes a number or a text for a timestamp, and fills in
what is missing. Nothing of that is allowed here. What is checked beside types: enum values, lengths, nulls, and that a FIS
reply holds the members its operation is called for (all but nextToken).

Lower bounds and patterns are not: AWS itself answers with an empty reason for a running action, against its own pattern.
"""

import json
from decimal import Decimal

# Errors that any FIS operation may answer with (FIS API reference, common errors), and their HTTP status. Of an error of
# another service only `__type` is looked at.
COMMON_ERRORS = {
    "AccessDeniedException": 403,
    "IncompleteSignature": 403,
    "InternalFailure": 500,
    "MalformedHttpRequestException": 400,
    "MissingAuthenticationToken": 403,
    "RequestEntityTooLargeException": 413,
    "ServiceUnavailable": 503,
    "ThrottlingException": 400,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
}
# Operations for which the model names no error at all; AWS answers with the errors of the service.
WITHOUT_ERRORS = {"TagResource", "UntagResource", "ListTagsForResource"}
LONGEST_MESSAGE = 1024


def problems(operation, status, headers, body):
    """What is wrong with a reply, one line each."""
    headers = {name.lower(): value for name, value in headers.items()}
    found = [] if headers.get("x-amzn-requestid") else ["no x-amzn-RequestId"]
    if operation.output_shape is None and not body:
        return found
    try:
        reply = read(body)
    except ValueError as error:
        return [*found, f"body is not JSON ({error}): {body[:200]!r}"]
    if not isinstance(reply, dict):
        return [*found, f"body is not an object: {body[:200]!r}"]
    if status == operation.http.get("responseCode", 200):
        found += success_problems(operation, reply)
    elif operation.service_model.protocol == "rest-json":
        found += error_problems(operation, status, headers, reply)
    elif not (400 <= status < 600 and isinstance(reply.get("__type"), str)):
        found.append(f"HTTP {status} without __type")
    return found


def read(body):
    """JSON without what only Python takes for JSON; numbers keep their digits."""

    def refuse(text):
        raise ValueError(f"{text} is not JSON")

    def members(pairs):
        names = [name for name, _value in pairs]
        if len(names) != len(set(names)):
            refuse("an object with a repeated name")
        return dict(pairs)

    return json.loads(body, parse_float=Decimal, parse_constant=refuse, object_pairs_hook=members)


def success_problems(operation, reply):
    if operation.output_shape is None:
        return [f"{name}: no such member" for name in reply]
    found = value_problems(operation.output_shape, reply, "")
    if operation.service_model.service_name == "fis":
        expected = set(operation.output_shape.members) - {"nextToken"}
        found += [f"{name}: missing" for name in sorted(expected - set(reply))]
    return found


def error_problems(operation, status, headers, reply):
    code = headers.get("x-amzn-errortype", "")
    modelled = {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in operation.error_shapes}
    if operation.name in WITHOUT_ERRORS:
        modelled = {"ValidationException": 400, "ResourceNotFoundException": 404}
    expected = {**COMMON_ERRORS, **modelled}
    found = []
    if code not in expected:
        found.append(f"x-amzn-errortype: {code!r} is not an error of this operation")
    elif status != expected[code]:
        found.append(f"{code} with HTTP {status} and not {expected[code]}")
    message = reply.get("message")
    if not isinstance(message, str) or not 0 < len(message) <= LONGEST_MESSAGE:
        found.append(f"message of an error: {message!r}")
    found += [f"{name}: no such member of an error" for name in reply if name != "message"]
    return found


def value_problems(shape, value, place):
    """What is wrong with one value, and with all that is in it."""
    if value is None:
        return [f"{place}: null"]
    match shape.type_name:
        case "structure":
            return structure_problems(shape, value, place)
        case "map":
            if not isinstance(value, dict):
                return [f"{place}: not an object"]
            found = length_problems(shape, len(value), place)
            for key, member in value.items():
                found += value_problems(shape.key, key, f"{place}.{key} (key)")
                found += value_problems(shape.value, member, f"{place}.{key}")
            return found
        case "list":
            if not isinstance(value, list):
                return [f"{place}: not a list"]
            found = length_problems(shape, len(value), place)
            for index, member in enumerate(value):
                found += value_problems(shape.member, member, f"{place}[{index}]")
            return found
        case kind:
            return scalar_problems(kind, shape, value, place)


def structure_problems(shape, value, place):
    if not isinstance(value, dict):
        return [f"{place}: not an object"]
    names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    found = [f"{place}.{name}: missing, though required" for name in shape.required_members if name not in value]
    for name, member in value.items():
        if name in names:
            found += value_problems(names[name], member, f"{place}.{name}".lstrip("."))
        else:
            found.append(f"{place}.{name}: no such member of {shape.name}")
    return found


def scalar_problems(kind, shape, value, place):
    number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": whole,
        "long": whole,
        "float": number,
        "double": number,
        "timestamp": number,
    }
    # A kind that is not in the list must be added and not be passed over.
    if not fits[kind]:
        return [f"{place}: {value!r} is not a {kind}"]
    if kind == "string" and shape.enum and value not in shape.enum:
        return [f"{place}: {value!r} is none of {shape.enum}"]
    if kind == "timestamp" and value != round(value, 3):
        return [f"{place}: {value} is finer than milliseconds"]
    return length_problems(shape, len(value) if kind == "string" else value, place)


def length_problems(shape, size, place):
    longest = shape.metadata.get("max")
    return [f"{place}: {size} is more than {longest}"] if longest is not None and size > longest else []
