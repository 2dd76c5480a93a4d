"""What the fuzzer of the document has to be told about the door."""
import os

import schemathesis

# Names of what is there. Every other request gets them, unless it would delete them: what is made up is not found.
THERE = {"topic": "wide", "name": "shop", "group": "g", "partition": 1, "offset": 0,
         "handle": os.environ.get("LEAT_HANDLE", "")}


@schemathesis.hook
def before_call(ctx, case, kwargs):
    # A page that waits for messages holds the run up and shows nothing.
    if case.query and "wait" in case.query:
        case.query["wait"] = "0"
    before_call.count += 1
    if case.method.upper() == "DELETE" or before_call.count % 2:
        return
    for name in case.path_parameters or {}:
        if name in THERE:
            case.path_parameters[name] = THERE[name]


before_call.count = 0
