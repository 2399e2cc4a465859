"""A strict mail server for the tests: aiosmtpd, told by one JSON line what to do, telling by one what it has.

It takes a mail only if it is well formed, and reads it with Python's own MIME and HTML parsers. It ends with its stdin.
"""

import asyncio
import html.parser
import json
import logging
import ssl
import sys
import warnings
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult

logging.disable()
warnings.simplefilter("ignore")
ASK = json.loads(sys.argv[1])  # tls: none, starttls, tls; certificate, key; user, password
LONGEST = 998  # RFC 5322, section 2.1.1
ONCE = ["from", "to", "subject", "date", "message-id", "mime-version", "content-type"]


class Shown(html.parser.HTMLParser):
    """What of an HTML part can be seen, where it leads, and what it is made of."""

    VOID = {"meta", "br"}

    def __init__(self):
        super().__init__()
        self.words, self.links, self.tags, self.hidden, self.open = [], [], set(), [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.links += [attrs[name] for name in ("href", "src", "background") if name in attrs]
        if tag not in self.VOID:
            unseen = tag in ("title", "style") or "display:none" in attrs.get("style", "")
            self.open.append((tag, unseen))

    def handle_endtag(self, tag):
        opened = self.open.pop()[0]
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data):
        unseen = any(unseen for _, unseen in self.open)
        if not unseen:
            self.words += data.split()
        elif self.open[-1][0] == "div":
            self.hidden.append(data)


def read(raw):
    for line in raw.split(b"\r\n"):
        assert len(line) <= LONGEST, "a line is too long"
        assert line.isascii() and b"\r" not in line and b"\n" not in line, "a bare CR, LF or 8-bit"
    mail = message_from_bytes(raw, policy=policy.default)
    assert not mail.defects, mail.defects
    for name in ONCE:
        assert len(mail.get_all(name, [])) == 1, f"{name} is not there once"
    for value in mail.values():
        assert not getattr(value, "defects", None), value.defects
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "text/html"], kinds
    page, shown = mail.get_body(("html",)).get_content(), Shown()
    shown.feed(page)
    shown.close()
    assert not shown.open, f"never closed: {shown.open}"
    return {
        "headers": [[name, str(value)] for name, value in mail.items()],
        "text": mail.get_body(("plain",)).get_content().replace("\r\n", "\n"),
        "html": page.replace("\r\n", "\n"),
        "words": shown.words,
        "hidden": "".join(shown.hidden),
        "links": shown.links,
        "tags": sorted(shown.tags),
    }


class Mailbox:
    def __init__(self):
        self.mails, self.tries, self.mood, self.answers, self.said = [], 0, "well", {}, []
        self.open = set()

    async def handle_MAIL(self, server, session, envelope, address, options):
        self.said.append(f"MAIL {address}")
        if "MAIL" in self.answers:
            return self.answers["MAIL"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.said.append(f"RCPT {address}")
        if self.mood == "busy":
            return "450 4.2.0 Greylisted, try again in 60 seconds"
        if self.mood == "refusing":
            return "550 5.1.1 no such user"
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = self.answers.get("DATA")
        if answer and answer != "DROP":
            return answer
        try:
            mail = read(envelope.content)
        except AssertionError as error:
            return f"554 5.6.0 {error}"
        self.mails.append(mail)
        if self.mood == "silent":
            await asyncio.Event().wait()
        if answer:
            server.transport.abort()
        return "250 OK"

    def authenticate(self, server, session, envelope, mechanism, data):
        if "AUTH" in self.answers:
            return AuthResult(success=False, handled=False, message=self.answers["AUTH"])
        right = (data.login.decode(), data.password.decode()) == (ASK["user"], ASK["password"])
        return AuthResult(success=right, handled=False)


class Connection(SMTP):
    def connection_made(self, transport):
        if self.event_handler.mood == "away":
            return transport.abort()
        super().connection_made(transport)
        self.event_handler.open.add(self)
        self.event_handler.tries += 1

    def connection_lost(self, error):
        self.event_handler.open.discard(self)
        super().connection_lost(error)


async def main():
    mailbox, loop = Mailbox(), asyncio.get_running_loop()
    context = None
    if ASK["tls"] != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ASK["certificate"], ASK["key"])
    starttls = ASK["tls"] == "starttls"
    options = {"hostname": "localhost", "loop": loop}
    if starttls:
        options |= {"tls_context": context, "require_starttls": True}
    if ASK.get("user"):
        options |= {"authenticator": mailbox.authenticate, "auth_required": True}
        options |= {"auth_require_tls": starttls}

    async def listen(port):
        implicit = context if ASK["tls"] == "tls" else None
        connection = lambda: Connection(mailbox, **options)
        return await loop.create_server(connection, "127.0.0.1", port, ssl=implicit)

    server = await listen(0)
    port = server.sockets[0].getsockname()[1]
    tell = lambda what: print(json.dumps(what), flush=True)
    tell({"port": port})
    reader = asyncio.StreamReader(limit=1 << 28)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        ask = json.loads(line)
        mailbox.answers = ask.get("answers", mailbox.answers)
        mailbox.mood = ask.get("mood", mailbox.mood)
        if mailbox.mood == "away" and server:
            server.close()
            for connection in list(mailbox.open):
                connection.transport.abort()
            server = None
        elif mailbox.mood != "away" and not server:
            server = await listen(port)
        if "parse" in ask:
            mailbox.mails = [read(bytes.fromhex(mail)) for mail in ask["parse"]]
        tell({"mails": mailbox.mails, "tries": mailbox.tries, "said": mailbox.said})


asyncio.run(main())
