//! The list of panes, and what it says about a handle. Pure: text in, answers out.

use std::fmt::Write as _;

use ao_slots::{
    InstanceId, Launch, SessionId,
    process::ProcessId,
    runtime::{ProbeState, RuntimeHandle, RuntimeProbe},
};
use jiff::Timestamp;

use crate::server::Fault;

/// One line a pane. The only field that others can choose stands last.
pub(crate) const FORMAT: &str = "#{pane_id}|#{pid}|#{pane_pid}|#{pane_dead}|#{pane_dead_status}|\
    #{pane_dead_signal}|#{window_activity}|#{?session_attached,#{session_activity},}|#{@ao_instance}|#{@ao_session}|#{@ao_launch}|#{session_name}";

/// One pane of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pane {
    pub(crate) id: String,
    pub(crate) server: i32,
    pub(crate) process: i32,
    pub(crate) end: End,
    pub(crate) active: Option<Timestamp>,
    /// The last key of a client that is attached to its session, or its coming: neither output nor what is sent to
    /// the pane counts as that (tmux 3.3a). None where nobody is attached.
    pub(crate) typed: Option<Timestamp>,
    /// Instance, session and launch from the pane's own options; empty where nobody set them.
    label: [String; 3],
    pub(crate) tmux_session: String,
}

/// Whether the pane's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It runs.
    No,
    /// It ended with this code; none when a signal ended it.
    Code(Option<i32>),
    /// Its terminal is closed and tmux does not say how it ended: it has not yet heard, or the process goes on
    /// without a terminal, or (tmux 3.2a) a signal ended it.
    Untold,
}

/// Reads what [`FORMAT`] printed. Lines of another shape are not ours.
pub(crate) fn parse(text: &str) -> Vec<Pane> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Pane> {
    let fields: Vec<&str> = line.splitn(12, '|').collect();
    let &[
        id,
        server,
        process,
        dead,
        status,
        signal,
        active,
        typed,
        instance,
        session,
        launch,
        name,
    ] = fields.as_slice()
    else {
        return None;
    };
    let end = match (dead, status.parse().ok(), signal.is_empty()) {
        ("1", None, true) => End::Untold,
        ("1", code, no_signal) => End::Code(code.filter(|_| no_signal)),
        _ => End::No,
    };
    let time = |seconds: &str| Timestamp::from_second(seconds.parse().ok()?).ok();
    Some(Pane {
        id: id.to_owned(),
        server: server.parse().ok()?,
        process: process.parse().ok()?,
        end,
        active: time(active),
        typed: time(typed),
        label: [instance, session, launch].map(str::to_owned),
        tmux_session: name.to_owned(),
    })
}

/// The name of the tmux session that holds this launch. It is part of the one command that starts it, so that
/// no crash can leave a process without a label.
pub(crate) fn name(session: &SessionId, launch: Launch) -> String {
    format!("{session}~{launch}")
}

/// The pane of this launch: the one whose options say so. Where a crash came before the options, it is the
/// oldest pane of the tmux session with its name; beside a labelled pane, others are a human's own.
pub(crate) fn find<'a>(
    panes: &'a [Pane],
    instance: &InstanceId,
    session: &SessionId,
    launch: Launch,
) -> Option<&'a Pane> {
    let label = [instance.to_string(), session.to_string(), launch.to_string()];
    let name = name(session, launch);
    let number = |pane: &&Pane| pane.id.strip_prefix('%').and_then(|n| n.parse::<u64>().ok());
    let named = || panes.iter().filter(|pane| pane.tmux_session == name);
    panes.iter().find(|pane| pane.label == label).or_else(|| {
        let unlabelled = named().all(|pane| pane.label[1].is_empty());
        named().filter(|_| unlabelled).min_by_key(|pane| number(pane).unwrap_or(u64::MAX))
    })
}

/// The pane that a handle names, where the server that gave the id still runs.
pub(crate) fn of_handle<'a>(panes: &'a [Pane], handle: &RuntimeHandle) -> Option<&'a Pane> {
    panes.iter().find(|pane| {
        pane.id == handle.id
            && handle.server.is_none_or(|server| server.pid == pane.server && server.is_alive())
    })
}

/// What the list says about one handle: the pane with its id, none, or why there is no list. `now` looks a
/// process up by its number.
pub(crate) fn judge(
    handle: &RuntimeHandle,
    list: Result<Option<&Pane>, &Fault>,
    now: impl Fn(i32) -> Option<ProcessId>,
) -> RuntimeProbe {
    let alive = |process: ProcessId| {
        now(process.pid).is_some_and(|now| process.start == 0 || process.start == now.start)
    };
    let unknown = |why: String| (ProbeState::Unknown(why), handle.process);
    // An id whose server is gone, or another's, says nothing: the kernel is asked instead.
    let by_process = |why: &str| match handle.process.filter(|process| alive(*process)) {
        Some(process) => unknown(format!("{why}, but process {} still runs", process.pid)),
        None => (ProbeState::Missing, handle.process),
    };
    let same_server =
        |pane: &Pane| handle.server.is_none_or(|server| server.pid == pane.server && alive(server));
    let (state, process) = match list {
        Err(fault) => match fault.unknown() {
            Some(why) => unknown(why.to_owned()),
            None => by_process("its tmux server is gone"),
        },
        Ok(None) => by_process("its pane is closed"),
        Ok(Some(pane)) if !same_server(pane) => by_process("its tmux server was replaced"),
        Ok(Some(pane)) => match (pane.end, handle.process) {
            (End::Code(code), process) => (ProbeState::Exited(code), process),
            // tmux is the parent and has not reaped it: the number is still this very process.
            (End::No, Some(process)) if process.pid == pane.process => {
                (ProbeState::Alive, Some(process))
            }
            (End::No, None) => (ProbeState::Alive, now(pane.process)),
            (End::No, Some(process)) if alive(process) => {
                let mut why = format!("pane {} shows process {}", pane.id, pane.process);
                let _ = write!(why, ", but process {} still runs", process.pid);
                unknown(why)
            }
            (End::Untold, Some(process)) if alive(process) => (ProbeState::Alive, Some(process)),
            (End::No | End::Untold, process) => (ProbeState::Exited(None), process),
        },
    };
    let ours = list.ok().flatten().filter(|pane| same_server(pane));
    let last_output = ours.and_then(|pane| pane.active);
    let last_input = ours.and_then(|pane| pane.typed);
    RuntimeProbe { state, last_output, last_input, process }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn instance() -> InstanceId {
        INSTANCE.parse().unwrap()
    }

    fn session(id: &str) -> SessionId {
        id.parse().unwrap()
    }

    /// Captured from tmux 3.3a, instance shortened there.
    fn captured() -> Vec<Pane> {
        let label = format!("{INSTANCE}|app-3|1|app-3~1");
        parse(&format!(
            "%0|75|76|0|||1795258603|1795258601|{label}\n\
             %1|75|81|1|3||1795258604|||||app-3~2\n\
             %2|75|85|1||9|1795258604|||||app-3~3\n\
             %3|75|86|1|||1795258604|||||app-3~4\n\
             %4|75|87|0|||1795258604|||||a name | of a human\n\
             garbage\n"
        ))
    }

    #[test]
    fn a_list_reads_back_and_lines_of_another_shape_are_left_out() {
        let panes = captured();
        let ends: Vec<End> = panes.iter().map(|pane| pane.end).collect();
        assert_eq!(
            ends,
            [End::No, End::Code(Some(3)), End::Code(None), End::Untold, End::No],
            "alive, exited 3, killed by signal 9, terminal closed, alive"
        );
        assert_eq!(panes[0].active, Some(Timestamp::from_second(1_795_258_603).unwrap()));
        assert_eq!(panes[0].typed, Some(Timestamp::from_second(1_795_258_601).unwrap()));
        assert!(panes[1..].iter().all(|pane| pane.typed.is_none()), "nobody is attached");
        assert_eq!(panes[4].tmux_session, "a name | of a human");
    }

    #[test]
    fn a_launch_is_found_by_its_own_label_only() {
        let panes = captured();
        let check = |id: &str, launch, expected: Option<&str>| {
            let found = find(&panes, &instance(), &session(id), Launch(launch));
            assert_eq!(found.map(|pane| pane.id.as_str()), expected, "{id} {launch}");
        };
        check("app-3", 1, Some("%0"));
        check("app-3", 2, Some("%1"));
        check("app-3", 9, None);
        check("app-33", 1, None);
        check("pp-3", 1, None);
        let other: InstanceId = "01ARZ3NDEKTSV4RRFFQ69G5FAW".parse().unwrap();
        assert_eq!(find(&panes, &other, &session("app-3"), Launch(1)), None);
    }

    #[test]
    fn r17_each_list_and_each_failure_is_judged_with_the_kernel_as_witness() {
        let process = |pid| ProcessId { pid, start: 5 };
        let handle = |id: &str, server, agent: Option<i32>| RuntimeHandle {
            session: session("app-3"),
            launch: Launch(1),
            id: id.to_owned(),
            server: Some(process(server)),
            process: agent.map(process),
        };
        let living = |pids: &'static [i32]| {
            move |pid| pids.contains(&pid).then_some(ProcessId { pid, start: 5 })
        };
        let panes = captured();
        let judge_by = |list: Result<(), Fault>, handle: RuntimeHandle, alive: &'static [i32]| {
            let list = list.as_ref().map(|()| panes.iter().find(|pane| pane.id == handle.id));
            judge(&handle, list, living(alive))
        };
        #[track_caller]
        fn is(probe: &RuntimeProbe, expected: &str) {
            let state = format!("{:?}", probe.state);
            assert!(state.starts_with(expected), "{state} is not {expected}");
        }
        // The pane is there.
        is(&judge_by(Ok(()), handle("%0", 75, Some(76)), &[75, 76]), "Alive");
        let learned = judge_by(Ok(()), handle("%0", 75, None), &[75, 76]);
        is(&learned, "Alive");
        assert_eq!(learned.process, Some(process(76)));
        is(&judge_by(Ok(()), handle("%1", 75, Some(81)), &[75]), "Exited(Some(3))");
        is(&judge_by(Ok(()), handle("%2", 75, Some(85)), &[75]), "Exited(None)");
        is(&judge_by(Ok(()), handle("%3", 75, Some(86)), &[75]), "Exited(None)");
        is(&judge_by(Ok(()), handle("%3", 75, Some(86)), &[75, 86]), "Alive");
        // Somebody respawned the pane: what runs there is not the agent.
        is(&judge_by(Ok(()), handle("%0", 75, Some(70)), &[75, 76]), "Exited(None)");
        is(&judge_by(Ok(()), handle("%0", 75, Some(70)), &[75, 76, 70]), "Unknown");
        // The pane is closed.
        is(&judge_by(Ok(()), handle("%9", 75, Some(70)), &[75]), "Missing");
        is(&judge_by(Ok(()), handle("%9", 75, Some(70)), &[75, 70]), "Unknown");
        // Another server gave the id.
        is(&judge_by(Ok(()), handle("%0", 74, Some(70)), &[75, 76]), "Missing");
        is(&judge_by(Ok(()), handle("%0", 74, Some(70)), &[75, 76, 70]), "Unknown");
        // No server.
        let gone = || Err(Fault::NoServer);
        is(&judge_by(gone(), handle("%0", 75, Some(76)), &[]), "Missing");
        is(&judge_by(gone(), handle("%0", 75, Some(76)), &[76]), "Unknown");
        is(&judge_by(gone(), handle("%0", 75, None), &[]), "Missing");
        // No answer is never a death.
        for fault in [
            Fault::Silent("hung".into()),
            Fault::Refused("permission".into()),
            Fault::NotInstalled("gone".into()),
        ] {
            is(&judge_by(Err(fault), handle("%0", 75, Some(76)), &[]), "Unknown");
        }
    }
}
