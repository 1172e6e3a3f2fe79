//! Flags that become the configuration or stand in for cells of the CSV.

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use mailhaul::accounts::{Defaults, Field};
use mailhaul::config::{
    Adopt, Compress, Config, Delivery, LaterFlags, Lock, Moves, Rates, Surplus, TargetLoss, Verify,
};
use mailhaul::fault::Side;
use mailhaul::repair::Repair;

use super::Failure;
use super::filters::FilterFlags;
use super::mapping::MappingFlags;

/// Less would not hold one window and the pieces of a large message.
const MEMORY_BYTES_MIN: u64 = 2 * 1024 * 1024;

/// The flags of one side, each named as its column.
macro_rules! side_flags {
    ($flags:ident, $side:literal, $heading:literal) => {
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = $heading)]
        struct $flags {
            /// Host name or address
            #[arg(id = concat!($side, "_host"), long = concat!($side, "-host"))]
            #[arg(value_name = "HOST")]
            host: Option<String>,
            /// Port [default: 993 with tls, 143 otherwise]
            #[arg(id = concat!($side, "_port"), long = concat!($side, "-port"))]
            #[arg(value_name = "PORT")]
            port: Option<String>,
            /// tls, starttls (required, no fallback) or plain [default: tls]
            #[arg(id = concat!($side, "_tls"), long = concat!($side, "-tls"))]
            #[arg(value_name = "HOW")]
            tls: Option<String>,
            /// The certificate's SHA-256; replaces the check of its chain and name
            #[arg(id = concat!($side, "_tls_pin"), long = concat!($side, "-tls-pin"))]
            #[arg(value_name = "SHA256")]
            tls_pin: Option<String>,
            /// password, admin, xoauth2 or oauthbearer [default: password]
            #[arg(id = concat!($side, "_auth"), long = concat!($side, "-auth"))]
            #[arg(value_name = "HOW")]
            auth: Option<String>,
            /// The administrator who logs in for each user; the password is the administrator's
            #[arg(id = concat!($side, "_admin"), long = concat!($side, "-admin"))]
            #[arg(value_name = "LOGIN")]
            admin: Option<String>,
            /// The environment variable that holds the password or token
            #[arg(id = concat!($side, "_password_env"), long = concat!($side, "-password-env"))]
            #[arg(value_name = "NAME")]
            password_env: Option<String>,
            /// The file whose first line is the password or token
            #[arg(id = concat!($side, "_password_file"), long = concat!($side, "-password-file"))]
            #[arg(value_name = "FILE")]
            password_file: Option<String>,
            /// The command that prints the password or token; needs --allow-commands
            #[arg(id = concat!($side, "_password_command"))]
            #[arg(long = concat!($side, "-password-command"), value_name = "COMMAND")]
            password_command: Option<String>,
            /// The mailbox below which an account's mail is, or is put: 'Old mail/Anna'
            #[arg(id = concat!($side, "_root"), long = concat!($side, "-root"))]
            #[arg(value_name = "MAILBOX")]
            root: Option<String>,
        }

        impl $flags {
            fn values(&self) -> [(Field, &Option<String>); 10] {
                [
                    (Field::Host, &self.host),
                    (Field::Port, &self.port),
                    (Field::Tls, &self.tls),
                    (Field::TlsPin, &self.tls_pin),
                    (Field::Auth, &self.auth),
                    (Field::Admin, &self.admin),
                    (Field::PasswordEnv, &self.password_env),
                    (Field::PasswordFile, &self.password_file),
                    (Field::PasswordCommand, &self.password_command),
                    (Field::Root, &self.root),
                ]
            }
        }
    };
}

side_flags!(SourceFlags, "source", "Source, where a column is missing or a cell empty");
side_flags!(TargetFlags, "target", "Target, where a column is missing or a cell empty");

/// What serves where the CSV says nothing.
#[derive(Debug, Default, Args)]
pub(super) struct AccountFlags {
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    target: TargetFlags,

    /// Let unprotected connections leave this machine
    #[arg(long, help_heading = "Security")]
    allow_plaintext: bool,
    /// Let password commands run (never through a shell)
    #[arg(long, help_heading = "Security")]
    allow_commands: bool,
}

impl AccountFlags {
    pub(super) fn defaults(&self) -> Defaults {
        let sides = [(Side::Source, self.source.values()), (Side::Target, self.target.values())];
        let values = sides
            .into_iter()
            .flat_map(|(side, values)| values.map(|(field, text)| ((side, field), text)))
            .filter_map(|(place, text)| Some((place, text.clone()?)))
            .collect();
        Defaults {
            values,
            allow_plaintext: self.allow_plaintext,
            allow_commands: self.allow_commands,
        }
    }
}

/// What every command has that connects to servers.
#[derive(Debug, Args)]
pub(super) struct LookFlags {
    /// Trust the certificates in this file too
    #[arg(long, value_name = "PEM", help_heading = "Security")]
    ca_file: Option<PathBuf>,

    /// Accounts at once
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Limits")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    accounts: usize,
    /// Connections to one host from all accounts
    #[arg(long, value_name = "N", default_value_t = 16, help_heading = "Limits")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    connections_per_host: usize,
    /// Messages a second, of one account on one side
    #[arg(long, value_name = "N", help_heading = "Limits")]
    message_rate: Option<NonZeroU32>,
    /// Bytes a second, of one account on one side: 20MiB
    #[arg(long, value_name = "SIZE", value_parser = byte_rate, help_heading = "Limits")]
    byte_rate: Option<NonZeroU32>,
    /// Messages a second, to one host from all accounts
    #[arg(long, value_name = "N", help_heading = "Limits")]
    host_message_rate: Option<NonZeroU32>,
    /// Bytes a second, to one host from all accounts: 100MiB
    #[arg(long, value_name = "SIZE", value_parser = byte_rate, help_heading = "Limits")]
    host_byte_rate: Option<NonZeroU32>,
    /// Bodies of messages held in memory, over all accounts
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "16MiB")]
    #[arg(help_heading = "Limits")]
    memory: usize,
    /// An account without progress for this long has failed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2h")]
    #[arg(help_heading = "Limits")]
    give_up_after: Duration,

    /// Which connections are compressed, where the server offers COMPRESS=DEFLATE: worth its processor
    /// time over slow links; `mailhaul tune` tells
    #[arg(long, value_name = "WHICH", default_value = "never", help_heading = "Limits")]
    compress: CompressFlag,

    #[command(flatten)]
    mapping: MappingFlags,
    #[command(flatten)]
    filters: FilterFlags,
}

/// What becomes the configuration of a run that copies.
#[derive(Debug, Args)]
pub(super) struct ConfigFlags {
    /// Connections of one account to one side
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Limits")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    connections: usize,
    /// How long a message of a lost connection may take to appear on the target
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    #[arg(help_heading = "Limits")]
    settle: Duration,

    /// Which copies are read back whole and compared: a sample and what servers are known to change,
    /// or all. Size, date and flags of every copy are looked at in any case
    #[arg(long, value_name = "HOW", default_value = "sample")]
    verify: VerifyFlag,
    /// How messages come into their mailboxes: they are appended there (direct), or to a mailbox of
    /// mailhaul's own and moved, where the target offers MOVE and UIDPLUS (staged): then no APPEND of
    /// a lost connection can make a second copy, however late
    #[arg(long, value_name = "HOW", default_value = "direct")]
    delivery: DeliveryFlag,
    /// What to do about a second copy of a message that had to be sent again: tell of it (report), or
    /// remove it where the target shows that it is ours and that the first one is there (remove). So
    /// far only Dovecot shows that
    #[arg(long, value_name = "HOW", default_value = "report")]
    surplus: SurplusFlag,
    /// Make a mailbox mailhaul-...-lock in each target account while it is worked on: a mailhaul with
    /// another state directory that asks for one, too, stops there. Users can see it
    #[arg(long)]
    lock_mailbox: bool,
    /// What to do about messages that are on the target before: those that are copies are not copied
    /// again (match), or everything is copied beside them (none)
    #[arg(long, value_name = "HOW", default_value = "match")]
    adopt: AdoptFlag,
    /// What later passes do about flags that changed at the source: make the same change at the target
    /// (follow), or leave them as they were copied (once)
    #[arg(long, value_name = "HOW", default_value = "follow")]
    flags: LaterFlagsFlag,
    /// What later passes do about messages that were moved to another mailbox at the source: move their
    /// copies, too, where the target offers MOVE and UIDPLUS (follow), or copy them again (copy)
    #[arg(long, value_name = "HOW", default_value = "follow")]
    moves: MovesFlag,
    /// What later passes do about copies that are not at the target any more, in none of the account's
    /// mailboxes: tell of them (report), since most likely their owner has deleted them, or copy the
    /// messages again (refill)
    #[arg(long, value_name = "HOW", default_value = "report")]
    on_target_loss: TargetLossFlag,
    /// What may be repaired in a message that the target refuses as it is, and then only in that one:
    /// line ends (crlf), lines beyond 998 octets (long-lines), NUL (nul), 8-bit words of the header
    /// (8bit-header), requests for a receipt (read-receipts). Each is told in the report
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    repair_on_refusal: Vec<RepairFlag>,
    /// Copy the rights of mailboxes (RFC 4314), for the users of the accounts file and of --acl-map;
    /// nothing is taken away at the target
    #[arg(long)]
    acl: bool,
    /// Who an identifier of the source's rights is at the target: team=staff; may be repeated
    #[arg(long, value_name = "SOURCE=TARGET", value_parser = pair, requires = "acl")]
    acl_map: Vec<(String, String)>,
    /// Copy what is noted about mailboxes (RFC 5464); what the target has noted stays
    #[arg(long)]
    metadata: bool,
    #[command(flatten)]
    look: LookFlags,
    /// Connect, list and plan, but write nothing on any server
    #[arg(long)]
    dry_run: bool,
    /// Put the subjects of messages that are not exact into the reports
    #[arg(long)]
    report_headers: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressFlag {
    Never,
    Source,
    Target,
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum VerifyFlag {
    Sample,
    Full,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeliveryFlag {
    Direct,
    Staged,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SurplusFlag {
    Report,
    Remove,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AdoptFlag {
    Match,
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LaterFlagsFlag {
    Follow,
    Once,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MovesFlag {
    Follow,
    Copy,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TargetLossFlag {
    Report,
    Refill,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RepairFlag {
    Crlf,
    LongLines,
    Nul,
    #[value(name = "8bit-header")]
    EightBitHeader,
    ReadReceipts,
}

impl From<RepairFlag> for Repair {
    fn from(flag: RepairFlag) -> Self {
        match flag {
            RepairFlag::Crlf => Self::Crlf,
            RepairFlag::LongLines => Self::LongLines,
            RepairFlag::Nul => Self::Nul,
            RepairFlag::EightBitHeader => Self::EightBitHeader,
            RepairFlag::ReadReceipts => Self::ReadReceipts,
        }
    }
}

impl ConfigFlags {
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let look = self.look.config()?;
        Ok(Config {
            connections_max: self.connections,
            settle: self.settle,
            settle_max: look.settle_max.max(self.settle),
            verify: match self.verify {
                VerifyFlag::Sample => Verify::Sample,
                VerifyFlag::Full => Verify::Full,
            },
            delivery: match self.delivery {
                DeliveryFlag::Direct => Delivery::Direct,
                DeliveryFlag::Staged => Delivery::Staged,
            },
            surplus: match self.surplus {
                SurplusFlag::Report => Surplus::Report,
                SurplusFlag::Remove => Surplus::Remove,
            },
            lock: if self.lock_mailbox { Lock::Locked } else { Lock::Open },
            adopt: match self.adopt {
                AdoptFlag::Match => Adopt::Match,
                AdoptFlag::None => Adopt::None,
            },
            later_flags: match self.flags {
                LaterFlagsFlag::Follow => LaterFlags::Follow,
                LaterFlagsFlag::Once => LaterFlags::Leave,
            },
            moves: match self.moves {
                MovesFlag::Follow => Moves::Follow,
                MovesFlag::Copy => Moves::Copy,
            },
            on_target_loss: match self.on_target_loss {
                TargetLossFlag::Report => TargetLoss::Report,
                TargetLossFlag::Refill => TargetLoss::Refill,
            },
            repairs: self.repair_on_refusal.iter().copied().map(Repair::from).collect(),
            acl: self.acl,
            acl_map: self.acl_map.clone(),
            metadata: self.metadata,
            dry_run: self.dry_run,
            report_headers: self.report_headers,
            ..look
        })
    }
}

impl LookFlags {
    pub(super) fn config(&self) -> Result<Config, Failure> {
        Ok(Config {
            accounts_max: self.accounts,
            host_connections_max: self.connections_per_host,
            rates: Rates {
                account_messages: self.message_rate,
                account_bytes: self.byte_rate,
                host_messages: self.host_message_rate,
                host_bytes: self.host_byte_rate,
            },
            memory_bytes_max: self.memory,
            give_up_after: self.give_up_after,
            compress: match self.compress {
                CompressFlag::Never => Compress::Never,
                CompressFlag::Source => Compress::Source,
                CompressFlag::Target => Compress::Target,
                CompressFlag::Both => Compress::Both,
            },
            rules: self.mapping.rules()?,
            filter: self.filters.filter()?,
            order: self.filters.order(),
            extra_roots_pem: self.extra_roots()?,
            ..Config::default()
        })
    }

    fn extra_roots(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        let hint = "--ca-file takes the root's certificate as PEM text";
        let pem = fs::read(path).map_err(|error| {
            let text = format!("--ca-file: cannot read {}: {error}", path.display());
            Failure::usage(text, hint)
        })?;
        let marker = b"-----BEGIN CERTIFICATE-----";
        if pem.windows(marker.len()).any(|window| window == marker) {
            Ok(Some(pem))
        } else {
            let text = format!("--ca-file: {} holds no certificate", path.display());
            Err(Failure::usage(text, hint))
        }
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let help = "give a time such as 200ms, 90s or 2h 30m";
    let duration: jiff::SignedDuration = text.parse().map_err(|_| help.to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("must be longer than nothing; {help}")),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64())
        .map_err(|_| "give a size such as 512KiB, 20MiB or 1GiB".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((source, target)) if !source.is_empty() && !target.is_empty() => {
            Ok((source.to_owned(), target.to_owned()))
        }
        _ => Err("give the source's and the target's, such as team=staff".to_owned()),
    }
}

fn byte_rate(text: &str) -> Result<NonZeroU32, String> {
    u32::try_from(size(text)?)
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| "must be from 1 B to less than 4 GiB a second".to_owned())
}

fn memory(text: &str) -> Result<usize, String> {
    match size(text)? {
        0..MEMORY_BYTES_MIN => Err("must be 2MiB or more".to_owned()),
        bytes => usize::try_from(bytes).map_err(|_| "is more than this machine has".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        config: ConfigFlags,
        #[command(flatten)]
        account: AccountFlags,
    }

    fn parse(line: &str) -> Result<Flags, String> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        Flags::try_parse_from(["mailhaul"].into_iter().chain(words))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_the_defaults_of_the_configuration_hold() {
        let config = parse("").expect("good").config.config().expect("good");
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn every_limit_arrives_in_the_configuration() {
        let config = parse(
            "--accounts 3 --connections 4 --connections-per-host 5 --message-rate 6 \
             --byte-rate 20MiB --host-message-rate 7 --host-byte-rate 1kB --memory 64MiB \
             --settle 2m --give-up-after 90s --dry-run --report-headers --verify full --adopt none \
             --lock-mailbox --moves copy --repair-on-refusal nul,8bit-header \
             --on-target-loss refill --compress source",
        )
        .expect("good")
        .config
        .config()
        .expect("good");
        assert_eq!(config.accounts_max, 3);
        assert_eq!(config.connections_max, 4);
        assert_eq!(config.host_connections_max, 5);
        assert_eq!(config.rates.account_messages, NonZeroU32::new(6));
        assert_eq!(config.rates.account_bytes, NonZeroU32::new(20 << 20));
        assert_eq!(config.rates.host_messages, NonZeroU32::new(7));
        assert_eq!(config.rates.host_bytes, NonZeroU32::new(1000));
        assert_eq!(config.memory_bytes_max, 64 << 20);
        assert_eq!(config.settle, Duration::from_secs(120));
        assert_eq!(config.settle_max, Duration::from_secs(120));
        assert_eq!(config.give_up_after, Duration::from_secs(90));
        assert_eq!((config.verify, config.adopt), (Verify::Full, Adopt::None));
        assert!(config.dry_run && config.report_headers);
        assert_eq!((config.lock, config.moves), (Lock::Locked, Moves::Copy));
        assert_eq!(
            (config.on_target_loss, config.compress),
            (TargetLoss::Refill, Compress::Source)
        );
        assert_eq!(config.repairs.to_string(), "nul, 8bit-header");
    }

    #[test]
    fn limits_that_would_stand_still_are_refused() {
        for line in [
            "--accounts 0",
            "--connections 0",
            "--connections-per-host 0",
            "--message-rate 0",
            "--byte-rate 0",
            "--byte-rate 5GiB",
            "--host-message-rate 0",
            "--host-byte-rate 0",
            "--memory 1MiB",
            "--memory lots",
            "--settle 0s",
            "--settle 5",
            "--give-up-after 0s",
        ] {
            parse(line).expect_err(line);
        }
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("2h 30m"), Ok(Duration::from_secs(9000)));
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn every_column_but_user_and_password_has_a_flag_of_its_name() {
        for side in [Side::Source, Side::Target] {
            for field in Field::ALL {
                let flag = format!("--{} value", field.flag(side));
                match parse(&flag) {
                    Ok(flags) => {
                        assert!(field.has_default(), "{flag}");
                        let values = flags.account.defaults().values;
                        assert_eq!(values.get(&(side, field)).map(String::as_str), Some("value"));
                        assert_eq!(values.len(), 1);
                    }
                    Err(_) => assert!(!field.has_default(), "{flag}"),
                }
            }
        }
    }
}
