//! What kind of server is rehearsed, as plain data.

/// Which literals a client may send without waiting for leave (RFC 7888).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Literal {
    /// None: every literal waits for the continuation.
    #[default]
    None,
    /// `LITERAL-`: those of at most 4096 bytes.
    Minus,
    /// `LITERAL+`: all.
    Plus,
}

/// What tells a message apart from others, over COPY and MOVE.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ObjectId {
    /// Nothing.
    #[default]
    None,
    /// The FETCH item `X-GUID`, unannounced, as Dovecot has it: each delivery has its own.
    XGuid,
    /// OBJECTID (RFC 8474) with an `EMAILID` that is made of the bytes, as Cyrus has it: equal
    /// messages have the same.
    EmailId,
}

/// What APPEND does with a message whose bytes the mailbox has already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Merging {
    /// It is one more.
    #[default]
    None,
    /// It stores nothing, and tells the UID of the one there: single-instance delivery.
    TellsKept,
    /// It stores nothing, and tells a UID of its own: Gmail's message is there for a moment, at most.
    TellsNew,
}

/// Everything in which servers differ and a client must cope.
///
/// Start from a constructor and change fields: `Profile { multiappend: false, ..Profile::dovecot() }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What the greeting and ID call the server.
    pub name: String,
    /// UIDPLUS (RFC 4315): APPENDUID, COPYUID, UID EXPUNGE.
    pub uidplus: bool,
    /// Non-synchronising literals.
    pub literal: Literal,
    /// MULTIAPPEND (RFC 3502), all or nothing.
    pub multiappend: bool,
    /// MOVE (RFC 6851).
    pub r#move: bool,
    /// What tells messages apart.
    pub object_id: ObjectId,
    /// Whether DELETE of a mailbox waits for a MOVE out of it that is under way (Cyrus); otherwise
    /// (Dovecot) the MOVE goes on, and what it has not copied yet arrives after the DELETE.
    pub delete_waits: bool,
    /// SPECIAL-USE (RFC 6154): LIST shows what mailboxes are for.
    pub special_use: bool,
    /// LIST-EXTENDED and LIST-STATUS (RFC 5258, RFC 5819).
    pub list_extended: bool,
    /// CONDSTORE (RFC 7162): MODSEQ, CHANGEDSINCE, UNCHANGEDSINCE.
    pub condstore: bool,
    /// `UTF8=ACCEPT` (RFC 6855).
    pub utf8_accept: bool,
    /// UNSELECT (RFC 3691).
    pub unselect: bool,
    /// IDLE (RFC 2177).
    pub idle: bool,
    /// ID (RFC 2971).
    pub id: bool,
    /// `COMPRESS=DEFLATE` (RFC 4978).
    pub compress: bool,
    /// ACL (RFC 4314).
    pub acl: bool,
    /// METADATA (RFC 5464).
    pub metadata: bool,
    /// Whether NAMESPACE (RFC 2342) is offered; prefix and delimiter hold either way.
    pub namespace: bool,
    /// What stands before every mailbox name but INBOX, with its delimiter; mostly empty.
    pub prefix: String,
    /// The hierarchy delimiter.
    pub delimiter: char,
    /// Whether SELECT tells UIDNEXT.
    pub select_uid_next: bool,
    /// APPENDLIMIT (RFC 7889) as announced, in bytes; not enforced by itself.
    pub append_limit: Option<u64>,
    /// The largest message APPEND takes, in bytes, whatever is announced.
    pub max_message_bytes: Option<u64>,
    /// Bytes each new account may hold; [`Store::set_quota`](super::Store::set_quota) changes one.
    pub quota_bytes: Option<u64>,
    /// Whether AUTHENTICATE takes an initial response (RFC 4959).
    pub sasl_ir: bool,
    /// Whether the LOGIN command works; otherwise `LOGINDISABLED`.
    pub login: bool,
    /// AUTHENTICATE PLAIN.
    pub auth_plain: bool,
    /// AUTHENTICATE XOAUTH2; the token is the account's password.
    pub auth_xoauth2: bool,
    /// AUTHENTICATE OAUTHBEARER (RFC 7628); the token is the account's password.
    pub auth_oauthbearer: bool,
    /// STARTTLS; also needs [`Server::offer_starttls`](super::Server::offer_starttls).
    pub starttls: bool,
    /// Whether greeting and login bring the capabilities along.
    pub capability_codes: bool,
    /// Sessions one user may have; one more is refused at login with `NO [UNAVAILABLE]`.
    pub max_connections_per_user: Option<usize>,
    /// Sessions of the server; one more is greeted with `BYE`.
    pub max_connections: Option<usize>,
    /// The longest command line, literals not counted, in bytes.
    pub max_line_bytes: usize,
    /// BINARY (RFC 3516), without which NUL is refused (Cyrus 3.6.1).
    pub binary: bool,
    /// Whether APPEND drops flags, which STORE sets (Mailutils 3.15; Exchange, of `\Flagged`).
    pub drops_flags: bool,
    /// Whether APPEND gives a message the line end that is missing at its end (Courier 5.0.13, seen
    /// in 2026).
    pub ends_lines: bool,
    /// What APPEND does with a message whose bytes the mailbox has already.
    pub merges: Merging,
    /// Gmail's labels: `X-GM-EXT-1`, and FETCH of X-GM-MSGID and X-GM-LABELS, where a message has the label of each
    /// mailbox that has its bytes.
    pub labels: bool,
    /// Whether each message of any mailbox but those for junk and trash stands in the one for `\All`,
    /// too, as soon as there is one: a view, in Gmail.
    pub all_mail: bool,
    /// Whether FETCH of a message that another session has expunged brings an invented one
    /// (Courier 5.0.13, seen in 2026).
    pub invents: bool,
}

impl Profile {
    /// Plain IMAP4rev1 without an extension.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            name: "plain".to_owned(),
            uidplus: false,
            literal: Literal::None,
            multiappend: false,
            r#move: false,
            object_id: ObjectId::None,
            delete_waits: false,
            special_use: false,
            list_extended: false,
            condstore: false,
            utf8_accept: false,
            unselect: false,
            idle: false,
            id: false,
            compress: false,
            acl: false,
            metadata: false,
            namespace: false,
            prefix: String::new(),
            delimiter: '/',
            select_uid_next: true,
            append_limit: None,
            max_message_bytes: None,
            quota_bytes: None,
            sasl_ir: false,
            login: true,
            auth_plain: true,
            auth_xoauth2: false,
            auth_oauthbearer: false,
            starttls: false,
            capability_codes: true,
            max_connections_per_user: None,
            max_connections: None,
            max_line_bytes: 65_536,
            binary: false,
            drops_flags: false,
            ends_lines: false,
            merges: Merging::None,
            labels: false,
            all_mail: false,
            invents: false,
        }
    }

    /// As Dovecot: every extension a copier likes.
    #[must_use]
    pub fn dovecot() -> Self {
        Self {
            name: "dovecot".to_owned(),
            uidplus: true,
            literal: Literal::Plus,
            multiappend: true,
            r#move: true,
            object_id: ObjectId::XGuid,
            special_use: true,
            list_extended: true,
            condstore: true,
            utf8_accept: true,
            unselect: true,
            idle: true,
            id: true,
            compress: true,
            acl: true,
            metadata: true,
            namespace: true,
            sasl_ir: true,
            auth_xoauth2: true,
            auth_oauthbearer: true,
            starttls: true,
            ..Self::plain()
        }
    }

    /// As Cyrus: what Dovecot has, but with `EMAILID`, and DELETE waits for a MOVE.
    #[must_use]
    pub fn cyrus() -> Self {
        Self {
            name: "cyrus".to_owned(),
            object_id: ObjectId::EmailId,
            delete_waits: true,
            ..Self::dovecot()
        }
    }

    /// As Exchange Online: `LITERAL+`, UIDPLUS and MOVE, one message an APPEND.
    #[must_use]
    pub fn exchange() -> Self {
        Self {
            name: "exchange".to_owned(),
            uidplus: true,
            literal: Literal::Plus,
            r#move: true,
            unselect: true,
            idle: true,
            id: true,
            namespace: true,
            sasl_ir: true,
            auth_xoauth2: true,
            capability_codes: false,
            ..Self::plain()
        }
    }

    /// As Gmail: `LITERAL-`, UIDPLUS, special uses, an announced limit, one message an APPEND.
    #[must_use]
    pub fn gmail() -> Self {
        Self {
            name: "gmail".to_owned(),
            uidplus: true,
            literal: Literal::Minus,
            r#move: true,
            special_use: true,
            list_extended: true,
            condstore: true,
            utf8_accept: true,
            unselect: true,
            idle: true,
            id: true,
            compress: true,
            namespace: true,
            append_limit: Some(35_651_584),
            max_message_bytes: Some(35_651_584),
            sasl_ir: true,
            auth_xoauth2: true,
            auth_oauthbearer: true,
            capability_codes: false,
            max_connections_per_user: Some(15),
            ..Self::plain()
        }
    }

    /// As Courier: everything below `INBOX.`, no `LITERAL+`, no UIDNEXT in SELECT.
    #[must_use]
    pub fn courier() -> Self {
        Self {
            name: "courier".to_owned(),
            uidplus: true,
            idle: true,
            namespace: true,
            prefix: "INBOX.".to_owned(),
            delimiter: '.',
            select_uid_next: false,
            capability_codes: true,
            ..Self::plain()
        }
    }

    /// The capabilities of a session in this state, in a fixed order.
    pub(super) fn capabilities(&self, starttls: bool) -> String {
        let limit = self.append_limit.map(|limit| format!("APPENDLIMIT={limit}"));
        let offers = [
            (true, "IMAP4rev1"),
            (self.sasl_ir, "SASL-IR"),
            (self.id, "ID"),
            (self.literal == Literal::Plus, "LITERAL+"),
            (self.literal == Literal::Minus, "LITERAL-"),
            (starttls, "STARTTLS"),
            (self.auth_plain, "AUTH=PLAIN"),
            (self.auth_xoauth2, "AUTH=XOAUTH2"),
            (self.auth_oauthbearer, "AUTH=OAUTHBEARER"),
            (!self.login, "LOGINDISABLED"),
            (self.condstore || self.utf8_accept, "ENABLE"),
            (self.idle, "IDLE"),
            (self.namespace, "NAMESPACE"),
            (self.unselect, "UNSELECT"),
            (self.binary, "BINARY"),
            (self.labels, "X-GM-EXT-1"),
            (self.compress, "COMPRESS=DEFLATE"),
            (self.acl, "ACL"),
            (self.acl, "RIGHTS=kxte"),
            (self.metadata, "METADATA"),
            (self.uidplus, "UIDPLUS"),
            (self.multiappend, "MULTIAPPEND"),
            (self.r#move, "MOVE"),
            (self.object_id == ObjectId::EmailId, "OBJECTID"),
            (self.condstore, "CONDSTORE"),
            (self.special_use, "SPECIAL-USE"),
            (self.list_extended, "LIST-EXTENDED"),
            (self.list_extended, "LIST-STATUS"),
            (self.utf8_accept, "UTF8=ACCEPT"),
            (limit.is_some(), limit.as_deref().unwrap_or_default()),
            (self.quota_bytes.is_some(), "QUOTA"),
        ];
        let offered: Vec<&str> =
            offers.iter().filter(|(offered, _)| *offered).map(|(_, name)| *name).collect();
        offered.join(" ")
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::dovecot()
    }
}
