//! What `ao --help` and `ao help <topic>` say.

/// The front page.
pub(crate) const FRONT: &str = "\
ao runs coding agents side by side and calls you only when you are needed.

  ao init                                 set up the repository you are in
  ao spawn my-app 41                      an agent works on issue 41
  ao status                               what needs you, what works, what is finished

Run          init  spawn  batch-spawn  send  session  open  dashboard  start  stop  restart
Understand   status  why  logs  events  doctor
Review       pr  review-check  release  retry  quota
Push         notify  ack  snooze  silence  digest  answer  approve  deny
Configure    config  plugin  token  completions  man
For agents   hook  report

`ao <command> --help` shows examples. Docs: ao help push | reviews | config | exit-codes | permissions | server | hints
";

/// A topic of the built-in documentation.
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) text: &'static str,
}

/// All topics.
pub(crate) const TOPICS: &[Topic] = &[
    Topic {
        name: "push",
        about: "When ao calls you, and how",
        text: "\
ao is silent until you are needed. It calls you when
  ▲ urgent   an agent asks a question or a permission, ended, is stuck or cannot go on
  ◆ action   work is finished and wants your decision
  ■ warning  something does not go well: an agent is idle, quota is used up
  ○ info     everything of a round is done

One matter is one message. It is edited in place and settles when the matter does; what goes away within
its settle time (urgent 2 s, action 15 s, warning 60 s) is never sent.

Where it goes, unless `notifications.routing` says otherwise:
  urgent     desktop, chat, phone        action   desktop, chat; the phone while nobody is present
  warning    chat                        info     the digest: daily at 08:00, by mail where there is one
A webhook gets everything. What would reach nobody goes to `defaults.notifiers`. Who types in a session
gets no desktop message about it.

Nobody reacts: it is said again after 30 min, 2 h and 8 h, then never. What is urgent calls the phone again
as an emergency after 10 min, and the next person after 20 (`notifications.escalation`, `people`); one that
its channel does not take goes on to the next. `I take it` or `ao ack` ends that, `ao snooze` puts it off.
`quietHours` in your time zone and a `budget` for each day hold back all but what is urgent; the digest has
it. `notifications.heartbeat` is an address that is asked as long as ao works: it tells you when it does not.

  ao notify setup ntfy     add a channel: it asks, checks, writes, and sends a test that has to come back
  ao notify channels       the channels: whether they work, what they can do, whose they are
  ao notify test desktop   send a test
  ao notify log            what was sent, what became of it, who took it, what holds it back
  ao notify stats          how often you were called, and how often for nothing
  ao notify replay --config new.yaml      what other settings would have sent
  ao why n-12              why a message was sent
  ao ack i-9               you take it: nobody is called again
  ao snooze i-9 --for 2h   not now
  ao silence add session=app-3 --for 2h   not a word of it for a while
  ao digest now            what was held back and what is not urgent, at once
",
    },
    Topic {
        name: "reviews",
        about: "What happens about a pull request, and what an agent is told of it",
        text: "\
A pull request is followed to its end. Its agent hears first; you hear when that did not help:

  trigger             what happens by itself                              you hear after
  ci-failed           the checks' logs go to the agent                    2 attempts, or 2 h without an end
  changes-requested   comments of people go to the agent                  30 min, or 3 messages on one head
  bugbot-comments     comments of bots go to the agent                    30 min, or 3 messages on one head
  merge-conflicts     the files go to the agent, or that it lags behind   15 min
  approved-and-green  nothing: you press Merge                            at once
  pr-closed           nothing                                             at once

`reactions` in the configuration changes that, by trigger, for all projects or in one:

  ci-failed: {auto: true, action: send-to-agent, escalate-after: 3}    # attempts, or a duration such as 1h
  changes-requested: {action: notify}                                  # you, and not the agent
  approved-and-green: {auto: true}                                     # ao merges by itself

With `auto: true` ao does not merge by itself once a check's log or a comment went to the agent: others wrote
those words. Then Merge comes to you, or you approve that very head: ao pr review app-3 --approve (on GitHub
another account does: it lets nobody approve what his own token opened).

Comments of people who may not write to the repository wait for you: ao release i-142.

`message` replaces what the agent is told. It is a template; these names are known in it:
  facts      what ao would say: failing checks with their logs, comments with file and line, files in conflict
  number title head base url              of the pull request
  checks files                            lists: names of failing checks, files in conflict
  comments                                how many are open
  message: \"PR {{ number }} into {{ base }}: {% for c in checks %}{{ c }} {% endfor %} {{ facts }}\"

  ao review-check --dry-run     what a round would do; without it, a round at once
  ao why app-3                  what failed, what was sent, what came of it
",
    },
    Topic {
        name: "config",
        about: "The configuration file",
        text: "\
ao reads agent-orchestrator.yaml in the repository (found from any folder below it) and your own
~/.config/ao/config.yaml. The least that a project needs:

  projects:
    my-app:
      path: .

Every key with its default is in agent-orchestrator.yaml.example; `ao config schema` prints the JSON schema
for your editor. Variables: ${NAME} in any text, $$ for a dollar sign.

A file in a repository is what others may have written. Keys that run programs, widen rights or send text
elsewhere count only after you said so: ao config trust.

  ao config check          is it valid, and what would change
  ao config show           the settings in use
  ao config ls             the files that count
",
    },
    Topic {
        name: "exit-codes",
        about: "What the exit codes mean",
        text: "\
  0  done
  1  the thing asked for failed; the reason is on standard error
  2  usage: unknown flag, bad value
  3  the configuration is invalid
  4  no such session, project, issue, incident
  5  refused to protect work or a newer state
  6  the server cannot be reached or started
  7  something is missing on this machine
  8  not confirmed, or a question with --no-input
  9  partly done: each item's result is printed
 10  sent, but not confirmed in time
130  interrupted by Ctrl-C
",
    },
    Topic {
        name: "permissions",
        about: "What an agent may do without asking",
        text: "\
`agentConfig.permissions` of a project says what its agents may do without asking:

  skip           everything. The default: an agent that is alone works on. It may run any command that you
                 could run, so use it where that is fine: a repository you trust, a machine for it.
  accept-edits   edits without asking, commands with.
  ask            asks before each tool that is not allowed already. You get a message with the command;
                 `ao approve app-3 r-7` or `ao deny app-3 r-7 --reason \"…\"` decides, also hours later.
  plan           only plans.

A session that runs keeps what it was started with.

ao keeps agents apart from your verbs: inside a session `ao answer`, `approve`, `config` and the like are
refused. This stops accidents and ordinary prompt injection. It is no wall against hostile code that runs
as the same user.
",
    },
    Topic {
        name: "server",
        about: "The server: one process that holds all state",
        text: "\
The first command that needs it starts it; it outlives your terminal. Stopping it, or killing it, never
touches agents: the next start finds them.

  ao start            start it; --foreground stays in this process
  ao stop             stop it; hooks and reports of agents are kept for it until it runs again
  ao restart          after an update of ao
  ao init --systemd   a systemd user unit: from log-in on, and again after a fault
  ao dashboard        its pages in your browser, signed in; on a phone, at `publicUrl`, with --away
  ao token ls         browsers and programs that may come in; create lets one in, revoke takes it back

The unit ends the server alone (KillMode=process). So that it runs without a log-in: loginctl enable-linger
Away again: systemctl --user disable --now ao
",
    },
    Topic {
        name: "hints",
        about: "What is said once",
        text: "\
Each of these is said one time for each data directory, in place, and then never again; delete the file
`hints` there to hear them anew. --quiet leaves all hints out.

  after the first spawn      You can close this terminal. ao and the agent go on.
  after the first answer     That is how it works. Too much or too little? ao notify stats
  before a project's first   what is wrong with the disk that its repository lies on
",
    },
];
