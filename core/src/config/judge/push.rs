//! People, and when they are told.

use super::Judge;
use crate::config::{
    check,
    layer::Layer,
    push::{
        EscalationEntry, HEARTBEAT_LEAST, QuietHoursEntry, TO_WORDS, abouts, find_zone, is_near,
        is_person, nearest_zone, plain_host, web_address,
    },
    units::Millis,
};
use crate::words::template;

impl<'l> Judge<'l, '_> {
    /// Who is told, when and how often.
    pub(super) fn push(&mut self, at: usize) {
        let layers = self.layers;
        let config = &layers[at].live.config;
        if let Some(address) = config.public_url.as_deref()
            && web_address(address).is_none()
        {
            self.refuse(at, &["publicUrl"], "publicUrl", address, "written https://host/path");
        }
        self.encrypted(at, &["publicUrl"], config.public_url.as_deref());
        self.identities(at);
        for (name, person) in &config.people {
            let here = ["people", name.as_str()];
            if !is_person(name) {
                let place = layers[at].node.key_place(&here);
                let rule = "letters, digits, `-`, `_` or `.`, first a letter or digit";
                self.error(at, &place, format!("`{name}` cannot be a person's name"), rule);
            }
            for (index, channel) in person.channels.iter().enumerate() {
                self.channel(at, &[here[0], here[1], "channels", &index.to_string()], channel, &[]);
            }
            for channel in person.identities.keys() {
                self.channel(at, &[here[0], here[1], "identities", channel], channel, &[]);
            }
            self.timezone(at, &here, person.timezone.as_deref());
            self.quiet_hours(at, &here, person.quiet_hours.as_ref());
            self.escalation(at, &here, person.escalation.as_deref());
        }
        let said = &config.notifications;
        let here = ["notifications"];
        self.timezone(at, &here, said.timezone.as_deref());
        self.quiet_hours(at, &here, said.quiet_hours.as_ref());
        self.escalation(at, &here, said.escalation.as_deref());
        self.order(at, &said.order);
        self.templates(at);
        for (index, wait) in said.repeat.iter().flatten().enumerate() {
            if wait.0 < 60_000 {
                let place = self.place(at, &["notifications", "repeat", &index.to_string()]);
                self.error(at, &place, "`repeat` is too short".to_owned(), "at least 1m");
            }
        }
        if let Some(heartbeat) = &said.heartbeat {
            let path = ["notifications", "heartbeat", "url"];
            let address = heartbeat.url.split(['?', '#']).next().unwrap_or_default();
            if web_address(address).is_none() {
                self.refuse(at, &path, "url", &heartbeat.url, "written https://host/path");
            }
            self.encrypted(at, &path, Some(&heartbeat.url));
            if heartbeat.every.is_some_and(|Millis(every)| every < HEARTBEAT_LEAST.0) {
                let place = self.place(at, &["notifications", "heartbeat", "every"]);
                let label = format!("at least {HEARTBEAT_LEAST}");
                self.error(at, &place, "`every` is too short".to_owned(), label);
            }
        }
    }

    /// What a template is for must be there, and what comes of it must be seen before it is sent.
    fn templates(&mut self, at: usize) {
        let layers = self.layers;
        for (channel, said) in &layers[at].live.config.notifications.templates {
            let kinds = template::KINDS.map(template::kind_word);
            let words = [kinds.as_slice(), &[template::DEFAULT]].concat();
            if !words.contains(&channel.as_str()) {
                self.channel(at, &["notifications", "templates", channel], channel, &words);
            }
            for (about, entry) in said {
                let here = ["notifications", "templates", channel, about];
                if !abouts().any(|known| check::same(known, about)) {
                    let place = layers[at].node.key_place(&here);
                    let label = match check::nearest(about, abouts()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "a trigger, `digest` or `default`".to_owned(),
                    };
                    self.error(at, &place, format!("`{about}` is no kind of message"), label);
                }
                for (part, text) in entry.parts() {
                    let Some(wrong) = text.as_deref().and_then(|text| template::check(text).err())
                    else {
                        continue;
                    };
                    let place = self.place(at, &[&here[..], &[part]].concat());
                    let line = if wrong.line > 1 {
                        format!(" in its line {}", wrong.line)
                    } else {
                        String::new()
                    };
                    let message = format!("the template of `{part}` is wrong{line}");
                    self.error(at, &place, message, wrong.what);
                }
            }
        }
    }

    fn refuse(&mut self, at: usize, path: &[&str], key: &str, value: &str, rule: &str) {
        let place = self.place(at, path);
        let shown = self.found.errors[at].shown(value);
        self.error(at, &place, format!("`{key}` cannot be `{shown}`"), rule);
    }

    /// What goes over networks of others is encrypted.
    fn encrypted(&mut self, at: usize, path: &[&str], address: Option<&str>) {
        let Some(host) = address.and_then(plain_host).filter(|host| !is_near(host)) else { return };
        let place = self.place(at, path);
        let key = path[path.len() - 1];
        let message = format!("`{key}` leads over http to {}", ao_slots::text::cut(host, 60));
        let label = "whoever carries it can read and change it: https://…";
        self.found.warnings[at].add(&place, message, label, None);
    }

    /// Who presses from an account is one person.
    fn identities(&mut self, at: usize) {
        let layers = self.layers;
        let people = |layer: &'l Layer<'_>| &layer.live.config.people;
        let users = || layers[..=at].iter().filter(|layer| layer.is_users()).flat_map(people);
        for (name, person) in people(&layers[at]) {
            for (channel, account) in &person.identities {
                let other = users().take_while(|(other, _)| *other != name).find(|(_, person)| {
                    person.identities.get(channel).is_some_and(|theirs| theirs == account)
                });
                if let Some((other, _)) = other {
                    let place = self.place(at, &["people", name, "identities", channel]);
                    let shown = self.found.errors[at].shown(account);
                    let message = format!("`{shown}` is the account of two people");
                    self.error(at, &place, message, format!("`{other}` has it too"));
                }
            }
        }
    }

    /// A channel that somebody is to be reached by must be there. One that only waits for trust will be.
    fn channel(&mut self, at: usize, path: &[&str], name: &str, words: &[&str]) {
        if self.is_configured(name) || self.is_default(name) {
            return;
        }
        let place = self.place(at, path);
        let near = check::nearest(name, words.iter().copied());
        let label = near
            .map_or_else(|| self.nearest_channel(name), |near| format!("did you mean `{near}`?"));
        let key = format!("notifiers.{name}");
        let pending = self.layers.iter().filter_map(|layer| layer.pending.as_ref());
        let mut waiting = pending.flat_map(|pending| &pending.items);
        if waiting.any(|item| item.key == key) {
            let message = format!("channel `{name}` waits for trust");
            self.found.warnings[at].add(&place, message, "not used until then", None);
        } else {
            let shown = self.found.errors[at].shown(name);
            self.error(at, &place, format!("`{shown}` is not a channel"), label);
        }
    }

    fn timezone(&mut self, at: usize, parent: &[&str], said: Option<&str>) {
        let Some(name) = said.filter(|name| find_zone(name).is_none()) else { return };
        let place = self.place(at, &[parent, &["timezone"]].concat());
        let shown = self.found.errors[at].shown(name);
        let label = match nearest_zone(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "written as in `Europe/Berlin`".to_owned(),
        };
        self.error(at, &place, format!("`{shown}` is not a time zone"), label);
    }

    fn quiet_hours(&mut self, at: usize, parent: &[&str], said: Option<&QuietHoursEntry>) {
        let Some(said) = said else { return };
        if said.from.0 == said.to.0 {
            let place = self.place(at, &[parent, &["quietHours", "to"]].concat());
            let message = "`quietHours` begin when they end".to_owned();
            self.error(at, &place, message, "another time than `from`");
        }
        if said.days.as_ref().is_some_and(Vec::is_empty) {
            let place = self.place(at, &[parent, &["quietHours", "days"]].concat());
            let label = "leave it out for every day, or leave out `quietHours`";
            self.error(at, &place, "`days` names no day".to_owned(), label);
        }
    }

    fn escalation(&mut self, at: usize, parent: &[&str], said: Option<&[EscalationEntry]>) {
        let mut before = Millis(0);
        for (index, step) in said.into_iter().flatten().enumerate() {
            let index = index.to_string();
            let here = [parent, &["escalation", &index]].concat();
            if step.after.0 <= before.0 {
                let place = self.place(at, &[&here[..], &["after"]].concat());
                let message =
                    format!("a step after {} is not later than the one before", step.after);
                self.error(at, &place, message, format!("more than {before}"));
            }
            before = step.after;
            let channels = step.to.channels();
            let several = channels.len() > 1;
            for (nth, channel) in channels.iter().enumerate() {
                let nth = nth.to_string();
                let item = [&here[..], &["to", &nth]].concat();
                let path = if several { item } else { [&here[..], &["to"]].concat() };
                self.channel(at, &path, channel, &TO_WORDS);
            }
        }
    }

    /// Who is called must be somebody.
    fn order(&mut self, at: usize, order: &[String]) {
        let users = self.layers.iter().filter(|layer| layer.is_users());
        let people: Vec<&str> =
            users.flat_map(|layer| layer.live.config.people.keys()).map(String::as_str).collect();
        for (index, name) in order.iter().enumerate() {
            let twice = order[..index].contains(name);
            if people.contains(&name.as_str()) && !twice {
                continue;
            }
            let place = self.place(at, &["notifications", "order", &index.to_string()]);
            let shown = self.found.errors[at].shown(name);
            let (message, label) = if twice {
                (format!("`{shown}` is called twice"), "leave out one".to_owned())
            } else {
                let label = match check::nearest(name, people.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add them under `people` of the user's file".to_owned(),
                };
                (format!("`{shown}` is nobody under `people`"), label)
            };
            self.error(at, &place, message, label);
        }
    }
}
