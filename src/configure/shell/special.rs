//! Commands that the shell itself is: they change its state. See XCU 2.14.

use super::{Flow, Shell, Stop, text_of};

/// What `special` and `condition` know by name.
const NAMES: [&str; 27] = [
    ":", "true", "false", ".", "eval", "exec", "exit", "return", "break", "continue", "shift",
    "set", "unset", "export", "readonly", "local", "read", "cd", "pwd", "umask", "command", "type",
    "trap", "[", "test", "echo", "printf",
];

/// Where debconf's commands for the shell are defined.
const CONFMODULE: &str = "/usr/share/debconf/confmodule";

impl Shell<'_, '_> {
    /// Runs one of the shell's own commands; `None` if that is none.
    pub(super) fn special(&mut self, name: &str, arguments: &[String]) -> Option<Flow> {
        let first = arguments.first().map(String::as_str);
        let number = || first.map_or(Some(1), |text| text.parse().ok());
        Some(match name {
            ":" | "true" => Ok(0),
            "false" => Ok(1),
            "[" | "test" => self.condition_command(name, arguments),
            "echo" => self.echo(arguments),
            "printf" => self.printf(arguments),
            "." => self.source(first.unwrap_or_default()),
            "eval" => self.text(&arguments.join(" ")),
            "exec" => match self.call_exec(arguments) {
                Ok(status) => Err(Stop::Exit(status)),
                Err(stop) => Err(stop),
            },
            "exit" | "return" => {
                let status = match first {
                    None => Some(self.state.status),
                    Some(text) => text.parse().ok(),
                };
                let status = status.map_or(2, |status: i32| status & 0xff);
                Err(if name == "exit" { Stop::Exit(status) } else { Stop::Return(status) })
            }
            "break" => Err(Stop::Break(number().unwrap_or(1))),
            "continue" => Err(Stop::Continue(number().unwrap_or(1))),
            "shift" => Ok(self.shift(number().unwrap_or(1))),
            "set" => self.set_command(arguments),
            "unset" => self.unset(arguments),
            "export" | "readonly" => Ok(self.export(arguments)),
            "local" => Ok(self.local(arguments)),
            "read" => self.read_command(arguments),
            "cd" => self.change_directory(first),
            "pwd" => {
                let text = format!("/{}\n", text_of(self.state.directory.as_bytes()));
                self.write(1, &text).map(|()| 0)
            }
            "umask" => self.umask(first),
            "command" | "type" => self.command_command(name, arguments),
            "trap" => self.trap(arguments),
            _ => return self.question_command(name, arguments),
        })
    }

    /// debconf's commands, once a script has asked for them.
    fn question_command(&mut self, name: &str, arguments: &[String]) -> Option<Flow> {
        if !self.state.with_questions || !name.starts_with("db_") {
            return None;
        }
        let Some(handler) = (self.find)("db_") else { return Some(Err(Stop::unknown(name))) };
        let mut call = super::Call::new(name, arguments);
        let result = handler(self, &mut call);
        if name != "db_stop" {
            self.set("RET", call.out.clone());
        }
        Some(self.write(2, &call.err).and(result))
    }

    fn call_exec(&mut self, arguments: &[String]) -> Flow {
        let (name, rest) = arguments.split_first().ok_or_else(|| Stop::unknown("exec"))?;
        self.call(name, rest)
    }

    /// Reads commands from a file into this shell.
    fn source(&mut self, path: &str) -> Flow {
        let found = match path.contains('/') {
            true => self.world.resolve(&self.state.directory, path, true).ok(),
            false => self.look_up(path).map(|(_, place)| place),
        };
        let bytes = found.and_then(|place| self.world.read(&place).ok());
        let Some(bytes) = bytes else {
            self.write(2, &format!(".: cannot open {path}\n"))?;
            return Err(Stop::Exit(2));
        };
        if path == CONFMODULE {
            return self.questions();
        }
        match self.text(&text_of(&bytes)) {
            Err(Stop::Return(status)) => Ok(status),
            result => result,
        }
    }

    /// debconf's commands become known; its own code, which is none for the shell alone, gets ready.
    fn questions(&mut self) -> Flow {
        self.state.with_questions = true;
        let handler = (self.find)("confmodule").ok_or_else(|| Stop::unknown(CONFMODULE))?;
        let mut call = super::Call::new("confmodule", &self.state.parameters.clone());
        handler(self, &mut call)
    }

    fn shift(&mut self, count: usize) -> i32 {
        if count > self.state.parameters.len() {
            return 1;
        }
        self.state.parameters.drain(..count);
        0
    }

    fn set_command(&mut self, arguments: &[String]) -> Flow {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.clone().next() {
            let on = argument.starts_with('-');
            if argument == "--" {
                rest.next();
                self.state.parameters = rest.cloned().collect();
                return Ok(0);
            }
            if !on && !argument.starts_with('+') || argument.len() < 2 {
                self.state.parameters = rest.cloned().collect();
                return Ok(0);
            }
            rest.next();
            for letter in argument.chars().skip(1) {
                match letter {
                    'e' => self.state.errexit = on,
                    'u' => self.state.nounset = on,
                    'f' => self.state.noglob = on,
                    'x' => {}
                    'o' if rest.next().is_some_and(|name| name == "errexit") => {
                        self.state.errexit = on;
                    }
                    _ => return Err(Stop::unknown(format!("set {argument}"))),
                }
            }
        }
        Ok(0)
    }

    fn unset(&mut self, arguments: &[String]) -> Flow {
        let functions = arguments.first().is_some_and(|first| first == "-f");
        for name in arguments.iter().filter(|name| !matches!(name.as_str(), "-f" | "-v")) {
            if functions {
                self.state.functions.remove(name);
            } else {
                self.state.variables.remove(name);
            }
        }
        Ok(0)
    }

    fn export(&mut self, arguments: &[String]) -> i32 {
        for argument in arguments {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            if let Some(value) = value {
                self.set(name, value);
            }
            self.state.variables.entry(name.to_owned()).or_default().exported = true;
        }
        0
    }

    fn local(&mut self, arguments: &[String]) -> i32 {
        for argument in arguments {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            let before = self.state.variables.get(name).cloned();
            if let Some(hidden) = self.state.hidden.last_mut() {
                hidden.entry(name.to_owned()).or_insert(before);
            }
            if let Some(value) = value {
                self.set(name, value);
            }
        }
        0
    }

    fn read_command(&mut self, arguments: &[String]) -> Flow {
        let raw = arguments.first().is_some_and(|first| first == "-r");
        let names: Vec<&String> = arguments.iter().skip(usize::from(raw)).collect();
        if names.iter().any(|name| name.starts_with('-')) {
            return Err(Stop::unknown(format!("read {}", arguments.join(" "))));
        }
        let line = self.read_line();
        let status = i32::from(!line.ends_with('\n'));
        let line = line.trim_end_matches('\n');
        let line = if raw { line.to_owned() } else { line.replace('\\', "") };
        let ifs = self.parameter("IFS").unwrap_or_else(|| " \t\n".to_owned());
        let blank = |c: char| ifs.contains(c) && c.is_ascii_whitespace();
        let mut rest = line.trim_matches(blank);
        for (index, name) in names.iter().enumerate() {
            let end = rest.find(|c| ifs.contains(c)).filter(|_| index + 1 < names.len());
            let (value, tail) = rest.split_at(end.unwrap_or(rest.len()));
            self.set(name, value);
            let tail = tail.trim_start_matches(blank);
            let sign = tail.chars().next().filter(|c| ifs.contains(*c));
            rest = tail.get(sign.map_or(0, char::len_utf8)..).unwrap_or_default();
            rest = rest.trim_start_matches(blank);
        }
        Ok(status)
    }

    fn change_directory(&mut self, path: Option<&str>) -> Flow {
        let home = self.parameter("HOME").unwrap_or_default();
        let path = path.unwrap_or(&home);
        let place = self.world.resolve(&self.state.directory, path, true);
        match place {
            Ok(place) if self.world.is_directory(&place) => {
                self.state.directory = place;
                Ok(0)
            }
            _ => self.write(2, &format!("cd: can't cd to {path}\n")).map(|()| 2),
        }
    }

    fn umask(&mut self, text: Option<&str>) -> Flow {
        let Some(text) = text else {
            return self.write(1, &format!("{:04o}\n", self.state.umask)).map(|()| 0);
        };
        let mask = u16::from_str_radix(text, 8);
        self.state.umask = mask.map_err(|_| Stop::unknown(format!("umask {text}")))? & 0o777;
        Ok(0)
    }

    /// `command NAME …`, `command -v NAME`, `type NAME`.
    fn command_command(&mut self, own: &str, arguments: &[String]) -> Flow {
        let (asked, names) = match arguments.split_first() {
            Some((first, rest)) if first == "-v" && own == "command" => (true, rest),
            _ => (own == "type", arguments),
        };
        let Some((name, rest)) = names.split_first() else { return Ok(0) };
        if !asked {
            return match self.special(name, rest) {
                Some(result) => result,
                None => self.program(name, rest),
            };
        }
        let known = NAMES.contains(&name.as_str()) || self.state.functions.contains_key(name);
        let found = match known {
            true => Some(name.clone()),
            false => self.look_up(name).map(|(path, _)| path),
        };
        match found {
            Some(path) => self.write(1, &format!("{path}\n")).map(|()| 0),
            None => Ok(127),
        }
    }

    fn trap(&mut self, arguments: &[String]) -> Flow {
        let Some((action, signals)) = arguments.split_first() else { return Ok(0) };
        if signals.is_empty() || signals.iter().any(|signal| signal == "EXIT" || signal == "0") {
            let nothing = matches!(action.as_str(), "-" | "" | "0" | "EXIT");
            self.state.at_exit = (!nothing).then(|| action.clone());
        }
        Ok(0)
    }
}
