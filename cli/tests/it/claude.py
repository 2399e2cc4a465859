#!/usr/bin/python3
"""A scripted Claude Code: draws its prompt, takes what is pasted there, tells by hooks, keeps a transcript, and edits
its worktree in reaction to what it is told. Each text that it was given is a line of `received.<session>`."""
import json
import os
import subprocess
import sys
import time
import tty
import uuid

AO = os.environ["AO_DATA_DIR"] + "/run/ao"
SESSION, NOTES = os.environ["AO_SESSION"], os.environ["NOTES"]
NATIVE = sys.argv[sys.argv.index("--session-id") + 1]
TRANSCRIPT = f"{NOTES}/{NATIVE}.jsonl"
PASTE, PASTED = b"\x1b[200~", b"\x1b[201~"
# How often its checks fail before it has mended them; one that cannot goes on for ever.
FAILS = int(SESSION.rsplit("-", 1)[1]) % 3
tries = 0
broken = True


def hook(event, **more):
    told = {"hook_event_name": event, "session_id": NATIVE, "transcript_path": TRANSCRIPT, "cwd": os.getcwd(), **more}
    done = subprocess.run([AO, "hook", "claude-code", event], input=json.dumps(told), capture_output=True, text=True)
    return json.loads(done.stdout) if done.stdout.strip() else {}


def git(*words):
    words = ["git", "-c", "user.name=agent", "-c", "user.email=agent@example.com", *words]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def commit(words):
    # Another git may be looking at the worktree.
    while not (git("add", "-A") and git("commit", "-qm", words)):
        time.sleep(0.1)


def received(text, **line):
    with open(f"{NOTES}/received.{SESSION}", "a") as file:
        file.write(json.dumps(text) + "\n")
    line = {"type": "user", "sessionId": NATIVE, **line}
    with open(TRANSCRIPT, "a") as file:
        file.write(json.dumps(line) + "\n")


def work(text):
    global tries, broken
    told = text.split("\n", 1)[0]
    if " conflicts with " in told:
        git("rebase", "-q", "-Xtheirs", "main") or git("rebase", "--abort")
        return
    if " fails: " in told:
        tries += 1
        broken = "stubborn" in sys.argv[-1] or tries < FAILS
    elif told.startswith("Your") or "requested" in told or "review comment" in told:
        broken = False
    else:
        broken = "stubborn" in sys.argv[-1] or FAILS > 0
    os.makedirs("work", exist_ok=True)
    with open(f"work/{SESSION}.txt", "w") as file:
        file.write(f"{'broken' if broken else 'fine'} {uuid.uuid4()}\n")
    # All of them change this line, so that one's merge is the others' conflict.
    with open("last.txt", "w") as file:
        file.write(SESSION + "\n")
    commit(told[:60])


def draw(draft, busy=False):
    rule = "─" * (os.get_terminal_size().columns - 1)
    shown = f"[Pasted text #1 +{draft.count(chr(10))} lines]" if len(draft) > 60 or "\n" in draft else draft
    lines = ["✻ Working…" if busy else "Done.", rule, f"❯ {shown}", rule, "  ⏵⏵ bypass permissions on"]
    sys.stdout.write("\x1b[2J\x1b[H" + "\r\n".join(lines) + f"\x1b[3;{len(shown) + 3}H")
    sys.stdout.flush()


def turn(text):
    """What it does with a text that was submitted, until nothing more is said at its end."""
    draw("", busy=True)
    prompt, active = str(uuid.uuid4()), False
    words = {"role": "user", "content": text}
    received(text, promptId=prompt, origin={"kind": "human"}, message=words)
    hook("UserPromptSubmit", prompt_id=prompt, prompt=text)
    while True:
        work(text)
        said = hook("Stop", prompt_id=prompt, stop_hook_active=active)
        if "reason" not in said:
            return
        text, active = said["reason"], True
        words = {"role": "user", "content": "Stop hook feedback:\n" + text}
        received(text, promptId=prompt, isMeta=True, message=words)


tty.setraw(0)
sys.stdout.write("\x1b[?2004h")
hook("SessionStart", source="startup")
turn(sys.argv[-1])
draft, keys = "", b""
while True:
    draw(draft)
    keys += os.read(0, 1 << 16)
    while keys:
        if keys.startswith(PASTE):
            if PASTED not in keys:
                break
            pasted, keys = keys[len(PASTE):].split(PASTED, 1)
            draft += pasted.decode()
        elif PASTE.startswith(keys):
            break
        else:
            key, keys = keys[:1], keys[1:]
            if key == b"\r" and draft:
                text, draft = draft, ""
                turn(text)
