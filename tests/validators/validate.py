"""Reads an export with other people's libraries. Usage: validate.py cyclonedx|in-toto|dsse FILE

Exit code 0: it is accepted; 1: it is refused, and the reason is on standard error. For an envelope, standard output is
the text that its signature must be over, as securesystemslib works it out.
"""

import json
import subprocess
import sys
from pathlib import Path


def cyclonedx(text):
    import cyclonedx.schema
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL

    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise ValueError(f"cyclonedx-python-lib: {wrong}")
    schema = Path(cyclonedx.schema.__file__).parent / "_res" / "bom-1.6.SNAPSHOT.schema.json"
    checker = Path(sys.executable).parent / "check-jsonschema"
    said = subprocess.run([checker, "--schemafile", schema, "-"], input=text, text=True, capture_output=True)
    if said.returncode != 0:
        raise ValueError(f"check-jsonschema: {said.stdout}{said.stderr}")
    for ancestor in json.loads(text)["metadata"]["component"]["pedigree"]["ancestors"]:
        PackageURL.from_string(ancestor["purl"])


def in_toto(text):
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement())).validate()
    predicate = json_format.ParseDict(json.loads(text)["predicate"], provenance_pb2.Provenance())
    for resource in predicate.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(resource).validate()
    for resource in predicate.run_details.byproducts:
        ResourceDescriptor.copy_from_pb(resource).validate()


def dsse(text):
    from securesystemslib.dsse import Envelope

    envelope = Envelope.from_dict(json.loads(text))
    in_toto(envelope.payload.decode())
    sys.stdout.buffer.write(envelope.pae())


kind, file = sys.argv[1:]
try:
    {"cyclonedx": cyclonedx, "in-toto": in_toto, "dsse": dsse}[kind](Path(file).read_text())
except ImportError:
    raise
except Exception as e:
    print(e, file=sys.stderr)
    sys.exit(1)
