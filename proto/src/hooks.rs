//! What may be called to put a model into service, as whoever runs the coordinator allows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::reference::{Section, section};
use crate::config::{Problems, Spec};
use crate::units;

/// The most hooks of a file.
pub const MAX_HOOKS: usize = 1000;

crate::documented! {
    /// A file for `muster coordinator --hooks`: what may be called to put a model into service. A schedule names one of them and
    /// can say no more about it, so that whoever may ask the coordinator cannot have it run or call anything else.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct HooksSpec {
        /// The hooks, each a table `[hooks.NAME]`.
        pub hooks: BTreeMap<String, HookSpec>,
    }
}

crate::documented! {
    /// A hook. It is told as one JSON object which model is to be in service from now on: `stage` (`"promote"`, `"roll_back"`),
    /// `model`, `version`, `checkpoint`, `dataset`, `model_digest`, `run`, and `idempotency`, which is the same when the call is
    /// made again, as it is after a failure or when another coordinator takes over.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct HookSpec {
        /// `"command"`: a program of the coordinator's machine, with the object on its standard input; it has to end with exit
        /// code 0. `"webhook"`: the object is sent by HTTP POST; the answer has to be a 2xx. `"link"`: a symbolic link is set
        /// to the model's checkpoint.
        pub kind: HookKind,
        /// Of a command: the program and its arguments. A path with a slash starts from this file's folder, a bare name is
        /// looked for in `PATH`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub command: Vec<String>,
        /// Of a command: variables of its environment. Beside these it has `PATH`, `HOME`, and the object's fields as
        /// `MUSTER_HOOK_STAGE` and so on; nothing else of the coordinator's own is handed on.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub environment: BTreeMap<String, String>,
        /// Of a webhook: where the object is sent, `http://` or `https://`. No redirect is followed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
        /// Of a webhook: a file with a token that is shown as `Authorization: Bearer`, one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub token_file: Option<PathBuf>,
        /// Of a link: where it is; replaced in one step, so that who opens it finds the model of before or of after. The folder
        /// has to be there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub path: Option<PathBuf>,
        /// How long a call may take; a command is then ended with all that it started.
        #[serde(default = "five_minutes", with = "units::duration")]
        pub deadline: Duration,
    }
}

/// What a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// A program.
    Command,
    /// A request by HTTP.
    Webhook,
    /// A symbolic link.
    Link,
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

impl HooksSpec {
    /// Its parts, for the reference.
    #[must_use]
    pub fn sections() -> Vec<Section> {
        vec![section::<Self>(""), section::<HookSpec>("hooks.NAME")]
    }

    /// With relative paths begun from the file's folder.
    #[must_use]
    pub fn rooted(mut self, folder: &Path) -> Self {
        for hook in self.hooks.values_mut() {
            for path in [&mut hook.token_file, &mut hook.path].into_iter().flatten() {
                *path = folder.join(&*path);
            }
            if let Some(program) = hook.command.first_mut().filter(|program| program.contains('/')) {
                *program = folder.join(&*program).to_string_lossy().into_owned();
            }
        }
        self
    }
}

impl Spec for HooksSpec {
    fn validate(&self, p: &mut Problems) {
        p.check(self.hooks.len() <= MAX_HOOKS, "hooks", || format!("has more than {MAX_HOOKS} hooks"));
        for (name, hook) in &self.hooks {
            p.within(&format!("hooks.{name}"), |p| {
                p.check(is_name(name), "", || {
                    "is not a name: write 1 to 64 letters, digits, '-' or '_'".to_owned()
                });
                hook.validate(p);
            });
        }
    }
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(legal)
}

impl HookSpec {
    fn validate(&self, p: &mut Problems) {
        let parts = [
            ("command", HookKind::Command, !self.command.is_empty(), true),
            ("environment", HookKind::Command, !self.environment.is_empty(), false),
            ("url", HookKind::Webhook, self.url.is_some(), true),
            ("token_file", HookKind::Webhook, self.token_file.is_some(), false),
            ("path", HookKind::Link, self.path.is_some(), true),
        ];
        for (field, of, is_there, is_needed) in parts {
            if of == self.kind {
                p.check(is_there || !is_needed, field, || format!("is missing, a {of} needs it"));
            } else {
                p.check(!is_there, field, || format!("is for a {of}, and this is a {}", self.kind));
            }
        }
        p.check(self.command.first().is_none_or(|program| !program.is_empty()), "command", || {
            "begins with an empty word, name the program".to_owned()
        });
        let has_nul = |text: &String| text.contains('\0');
        p.check(!self.command.iter().any(has_nul), "command", || "has a NUL character".to_owned());
        for (name, value) in &self.environment {
            p.check(
                !name.is_empty() && !name.contains(['=', '\0']) && !has_nul(value),
                "environment",
                || format!("has {name:?}, which cannot be a variable"),
            );
        }
        let is_url = |url: &String| {
            let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) && !url.contains([' ', '\n'])
        };
        p.check(self.url.as_ref().is_none_or(is_url), "url", || {
            "is not an address: write http://HOST/PATH or https://HOST/PATH".to_owned()
        });
        let has_name = |path: &PathBuf| path.file_name().is_some();
        p.check(self.path.as_ref().is_none_or(has_name), "path", || "names no file".to_owned());
        let day = Duration::from_secs(86_400);
        p.check(!self.deadline.is_zero() && self.deadline <= day, "deadline", || {
            "must be more than 0 and at most a day".to_owned()
        });
    }
}

impl std::fmt::Display for HookKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Command => "command",
            Self::Webhook => "webhook",
            Self::Link => "link",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn refused(text: &str) -> String {
        config::parse::<HooksSpec>(text, "hooks.toml", &[]).unwrap_err().to_string()
    }

    #[test]
    fn relative_paths_begin_from_the_files_folder_and_bare_names_stay() {
        let text = "[hooks.deploy]\nkind = \"command\"\ncommand = [\"./deploy.sh\", \"./as-it-is\"]\n\
                    [hooks.tool]\nkind = \"command\"\ncommand = [\"rsync\"]\n\
                    [hooks.folder]\nkind = \"link\"\npath = \"live\"\ndeadline = \"5s\"\n";
        let spec =
            config::parse::<HooksSpec>(text, "hooks.toml", &[]).unwrap().rooted(Path::new("/etc/muster"));
        assert_eq!(spec.hooks["deploy"].command, ["/etc/muster/./deploy.sh", "./as-it-is"]);
        assert_eq!(spec.hooks["tool"].command, ["rsync"]);
        assert_eq!(spec.hooks["folder"].path.as_deref(), Some(Path::new("/etc/muster/live")));
        let deadlines = (spec.hooks["tool"].deadline, spec.hooks["folder"].deadline);
        assert_eq!(deadlines, (Duration::from_secs(300), Duration::from_secs(5)));
    }

    #[test]
    fn a_hook_that_could_do_nothing_or_has_keys_of_another_kind_is_refused_with_its_field() {
        assert!(refused("[hooks.a]\nkind = \"command\"\n").contains("hooks.a.command: is missing"));
        assert!(
            refused("[hooks.a]\nkind = \"webhook\"\nurl = \"ftp://x\"\n")
                .contains("hooks.a.url: is not an address")
        );
        let both =
            refused("[hooks.a]\nkind = \"link\"\npath = \"live\"\nurl = \"http://x\"\ncommand = [\"y\"]\n");
        assert!(
            both.contains("hooks.a.url: is for a webhook")
                && both.contains("hooks.a.command: is for a command")
        );
        assert!(
            refused("[hooks.a]\nkind = \"link\"\npath = \"live\"\ndeadlin = \"5s\"\n").contains("deadline")
        );
        assert!(refused("[hooks.\"a b\"]\nkind = \"link\"\npath = \"live\"\n").contains("is not a name"));
        assert!(
            refused("[hooks.a]\nkind = \"link\"\npath = \"live\"\ndeadline = \"0s\"\n")
                .contains("more than 0")
        );
        assert!(refused("[hooks.a]\nkind = \"shell\"\n").contains("shell"));
    }
}
