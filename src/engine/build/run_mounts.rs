//! The options of `RUN --mount=…`: text to values. Making the mounts is `run`'s work.

/// What kind of mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountType {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Shared,
    /// One build at a time; `private` is treated so, too.
    Locked,
}

/// One mount, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountOptions {
    pub(crate) kind: MountType,
    pub(crate) id: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) readonly: Option<bool>,
    pub(crate) sharing: Sharing,
    pub(crate) required: bool,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size_bytes: Option<u64>,
    /// The secret goes to this variable.
    pub(crate) env: Option<String>,
}

impl MountOptions {
    /// `type=cache,target=/root/.cache,…`
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut mount = MountOptions {
            kind: MountType::Bind,
            id: None,
            target: None,
            source: None,
            from: None,
            readonly: None,
            sharing: Sharing::Shared,
            required: false,
            mode: None,
            uid: None,
            gid: None,
            size_bytes: None,
            env: None,
        };
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.trim(), Some(value.trim())),
                None => (field.trim(), None),
            };
            mount.set(&key.to_ascii_lowercase(), value, field)?;
        }
        mount.check()?;
        Ok(mount)
    }

    /// The id of a secret: given, or the last component of the target.
    pub(crate) fn secret_id(&self) -> Option<String> {
        if self.kind != MountType::Secret {
            return None;
        }
        self.id.clone().or_else(|| self.source.clone()).or_else(|| {
            let target = self.target.as_deref()?;
            Some(target.rsplit('/').next().unwrap_or(target).to_owned())
        })
    }

    fn set(&mut self, key: &str, value: Option<&str>, field: &str) -> Result<(), String> {
        let flag = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("invalid value for {key}: {other}")),
        };
        match key {
            "readonly" | "ro" => {
                self.readonly = Some(flag()?);
                return Ok(());
            }
            "readwrite" | "rw" => {
                self.readonly = Some(!flag()?);
                return Ok(());
            }
            "required" => {
                self.required = flag()?;
                return Ok(());
            }
            _ => {}
        }
        let Some(value) = value else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        let number = || {
            value
                .parse::<u32>()
                .map_err(|_| format!("invalid value for {key}: {value}"))
        };
        match key {
            "type" => {
                self.kind = match value.to_ascii_lowercase().as_str() {
                    "bind" => MountType::Bind,
                    "cache" => MountType::Cache,
                    "tmpfs" => MountType::Tmpfs,
                    "secret" => MountType::Secret,
                    "ssh" => MountType::Ssh,
                    _ => return Err(format!("unsupported mount type {value:?}")),
                };
            }
            "from" => self.from = Some(value.to_owned()),
            "source" | "src" => self.source = Some(value.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(value.to_owned()),
            "id" => self.id = Some(value.to_owned()),
            "env" => self.env = Some(value.to_owned()),
            "sharing" => {
                self.sharing = match value {
                    "shared" => Sharing::Shared,
                    "private" | "locked" => Sharing::Locked,
                    _ => return Err(format!("unsupported sharing value {value:?}")),
                };
            }
            "mode" => {
                self.mode = Some(
                    u32::from_str_radix(value, 8)
                        .map_err(|_| format!("invalid value for mode: {value}"))?,
                );
            }
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            "size" => {
                let size = crate::units::parse_bytes(value).map_err(|error| error.to_string())?;
                self.size_bytes = Some(size.max(0).cast_unsigned());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let needs_target = matches!(
            self.kind,
            MountType::Bind | MountType::Cache | MountType::Tmpfs
        );
        if needs_target && self.target.as_deref().is_none_or(str::is_empty) {
            return Err("target is required for this type of mount".to_owned());
        }
        if self.target.as_deref() == Some("/") {
            return Err("target can't be '/'".to_owned());
        }
        Ok(())
    }
}
