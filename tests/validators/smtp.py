"""A mail server on loopback that prints each mail that it takes as a line of JSON (aiosmtpd).

Usage: smtp.py PORT [USER:PASSWORD [KEY_AND_CERTIFICATE]]; prints "ready", and runs until its input ends.
"""
import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult


class Printer:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "login": session.auth_data,
            "subject": mail["subject"],
            "text": mail.get_content(),
            "headers": {name.lower(): str(value) for name, value in mail.items()},
        }
        print(json.dumps(told), flush=True)
        return "250 taken"


def main():
    port, login, *more = sys.argv[1:]
    # That a password goes over loopback without TLS is meant.
    warnings.simplefilter("ignore")
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    wanted = login.encode()

    def may(server, session, envelope, mechanism, auth_data):
        given = auth_data.login + b":" + auth_data.password
        if given != wanted:
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=auth_data.login.decode())

    context = None
    if more:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(more[0])
    auth = {"auth_required": True, "auth_require_tls": False, "authenticator": may} if login else {}
    async def serve():
        loop = asyncio.get_running_loop()
        server = lambda: SMTP(Printer(), hostname="127.0.0.1", loop=loop, enable_SMTPUTF8=True, **auth)
        await loop.create_server(server, "127.0.0.1", int(port), ssl=context)
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)

    asyncio.run(serve())


main()
