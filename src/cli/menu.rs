//! The keys of an attached `up`: one line at the bottom says what they do. It decides which key means what;
//! the doing is `attached`'s.

use std::io::Read as _;

use tokio::sync::mpsc;

use crate::ui::{output, terminal};

const CHANNEL_KEYS: usize = 16;

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The containers run on, this command ends.
    Detach,
    ToggleWatch,
    Restart(String),
    /// Only this service's output, or all.
    Filter(Option<String>),
    Shell(String),
    /// An empty line between the output.
    Line,
}

/// What a digit is about to choose a service for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choosing {
    Nothing,
    Restart,
    Filter,
    Shell,
}

/// The menu, and the terminal in the mode that it needs.
pub(crate) struct Menu {
    key_rx: mpsc::Receiver<u8>,
    services: Vec<String>,
    choosing: Choosing,
    can_watch: bool,
    watching: bool,
    /// Dropped before a shell takes the terminal.
    mode: Option<terminal::ModeGuard>,
}

impl Menu {
    /// `None`: stdin is no terminal after all.
    pub(crate) fn open(services: Vec<String>, can_watch: bool, watching: bool) -> Option<Menu> {
        let mode = terminal::keys().ok()?;
        let (key_tx, key_rx) = mpsc::channel(CHANNEL_KEYS);
        std::thread::spawn(move || {
            let mut key = [0];
            while let Ok(1) = std::io::stdin().lock().read(&mut key) {
                if key_tx.blocking_send(key[0]).is_err() {
                    break;
                }
            }
        });
        let menu = Menu {
            key_rx,
            services,
            choosing: Choosing::Nothing,
            can_watch,
            watching,
            mode: Some(mode),
        };
        menu.draw();
        Some(menu)
    }

    pub(crate) fn set_watching(&mut self, watching: bool) {
        self.watching = watching;
        self.draw();
    }

    /// The next wish; waits for keys.
    pub(crate) async fn next(&mut self) -> Wish {
        loop {
            let Some(key) = self.key_rx.recv().await else {
                std::future::pending::<()>().await;
                continue;
            };
            if let Some(wish) = self.key(key) {
                return wish;
            }
        }
    }

    fn key(&mut self, key: u8) -> Option<Wish> {
        let choosing = std::mem::replace(&mut self.choosing, Choosing::Nothing);
        let wish = match (choosing, key) {
            (Choosing::Nothing, b'd') => Some(Wish::Detach),
            (Choosing::Nothing, b'w') if self.can_watch => Some(Wish::ToggleWatch),
            (Choosing::Nothing, b'\n' | b'\r') => Some(Wish::Line),
            (Choosing::Nothing, b'r') => self.choose(Choosing::Restart),
            (Choosing::Nothing, b'f') => self.choose(Choosing::Filter),
            (Choosing::Nothing, b's') => self.choose(Choosing::Shell),
            (Choosing::Filter, b'0') => Some(Wish::Filter(None)),
            (choosing, b'1'..=b'9') => {
                let service = self.services.get(usize::from(key - b'1')).cloned();
                service.and_then(|service| match choosing {
                    Choosing::Restart => Some(Wish::Restart(service)),
                    Choosing::Filter => Some(Wish::Filter(Some(service))),
                    Choosing::Shell => Some(Wish::Shell(service)),
                    Choosing::Nothing => None,
                })
            }
            _ => None,
        };
        self.draw();
        wish
    }

    fn choose(&mut self, what: Choosing) -> Option<Wish> {
        self.choosing = what;
        None
    }

    fn text(&self) -> String {
        let choices = || {
            let mut choices: Vec<String> = self
                .services
                .iter()
                .take(9)
                .enumerate()
                .map(|(at, name)| format!("{} {name}", at + 1))
                .collect();
            if self.choosing == Choosing::Filter {
                choices.insert(0, "0 all".to_owned());
            }
            choices.join("   ")
        };
        match self.choosing {
            Choosing::Nothing => {
                let watch = match (self.can_watch, self.watching) {
                    (false, _) => "",
                    (true, true) => "w Disable Watch   ",
                    (true, false) => "w Enable Watch   ",
                };
                format!("{watch}d Detach   r Restart   f Filter Logs   s Shell")
            }
            Choosing::Restart => format!("restart:   {}", choices()),
            Choosing::Filter => format!("show logs of:   {}", choices()),
            Choosing::Shell => format!("shell in:   {}", choices()),
        }
    }

    fn draw(&self) {
        output::set_footer(Some(self.text()));
    }

    /// Gives the terminal away; [`Menu::resume`] takes it back.
    pub(crate) fn suspend(&mut self) {
        output::set_footer(None);
        self.mode = None;
    }

    pub(crate) fn resume(&mut self) {
        self.mode = terminal::keys().ok();
        self.draw();
    }

    /// A key that was typed while the menu was suspended.
    pub(crate) async fn raw_key(&mut self) -> Option<u8> {
        self.key_rx.recv().await
    }
}

impl Drop for Menu {
    fn drop(&mut self) {
        output::set_footer(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_choose_what_and_then_for_which_service() {
        let mut menu = Menu {
            key_rx: mpsc::channel(1).1,
            services: vec!["db".to_owned(), "web".to_owned()],
            choosing: Choosing::Nothing,
            can_watch: true,
            watching: false,
            mode: None,
        };
        assert_eq!(menu.key(b'd'), Some(Wish::Detach));
        assert_eq!(menu.key(b'w'), Some(Wish::ToggleWatch));
        assert_eq!(menu.key(b'r'), None);
        assert_eq!(menu.text(), "restart:   1 db   2 web");
        assert_eq!(menu.key(b'2'), Some(Wish::Restart("web".to_owned())));
        assert_eq!(menu.key(b'f'), None);
        assert_eq!(menu.key(b'0'), Some(Wish::Filter(None)));
        assert_eq!(menu.key(b's'), None);
        assert_eq!(menu.key(b'9'), None);
        assert_eq!(menu.key(b'1'), None);
    }
}
