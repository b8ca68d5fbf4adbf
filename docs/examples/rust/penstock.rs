//! penstock/plugin.h of ABI 1.0 in Rust, for plugins that use no crate.
//!
//! Link with `-C panic=abort`: a panic must not cross into the host. Read the elements of a batch
//! with `message_at`: a later host's messages lie further apart than ours are large.
#![allow(dead_code)]

use std::os::raw::{c_char, c_void};

pub const MAGIC: u32 = 0x50454e53;
pub const ABI_MAJOR: u16 = 1;
pub const ABI_MINOR: u16 = 0;
pub const SOURCE: u32 = 1;
pub const SINK: u32 = 2;

pub type Status = i32;
pub const OK: Status = 0;
pub const AGAIN: Status = 1;
pub const STOPPED: Status = 2;
pub const E_CONFIG: Status = -1;
pub const E_FAILED: Status = -2;

pub const DELIVERED: i32 = 0;
pub const RETRY: i32 = 1;
pub const UNKNOWN: i32 = 2;
pub const REJECTED: i32 = 3;

pub const OPT_STRING: i32 = 1;
pub const OPT_INT: i32 = 2;
pub const OPT_REQUIRED: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    pub ptr: *const u8,
    pub len: usize,
}

impl Str {
    pub const EMPTY: Str = Str { ptr: std::ptr::null(), len: 0 };
    pub fn of(bytes: &[u8]) -> Str {
        Str { ptr: bytes.as_ptr(), len: bytes.len() }
    }
    /// # Safety
    /// What it points to must live as long as the caller uses it.
    pub unsafe fn bytes<'a>(&self) -> &'a [u8] {
        if self.len == 0 { &[] } else { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Kv {
    pub key: Str,
    pub value: Str,
}

#[repr(C)]
pub struct Error {
    pub struct_size: u32,
    pub reserved: u32,
    pub text: [u8; 1016],
}

impl Error {
    /// Writes a sentence, cut to fit, and gives the status to return with it.
    /// # Safety
    /// `error` is what the host passed.
    pub unsafe fn fail(error: *mut Error, sentence: &str) -> Status {
        let text = &mut (*error).text;
        let n = sentence.len().min(text.len() - 1);
        text[..n].copy_from_slice(&sentence.as_bytes()[..n]);
        text[n] = 0;
        E_FAILED
    }
}

#[repr(C)]
pub struct Owner {
    pub release: Option<unsafe extern "C" fn(*mut Owner, u32)>,
}

#[repr(C)]
pub struct Event {
    pub payload: Str,
    pub subject: Str,
    pub id: Str,
    pub kind: Str,
    pub content_type: Str,
    pub attributes: *const Kv,
    pub n_attributes: u32,
    pub reserved: u32,
    pub time_ns: i64,
    pub ack_token: u64,
    pub owner: *mut Owner,
}

impl Event {
    /// An event of which the host copies everything during emit.
    pub fn of(payload: &[u8]) -> Event {
        Event {
            payload: Str::of(payload),
            subject: Str::EMPTY,
            id: Str::EMPTY,
            kind: Str::EMPTY,
            content_type: Str::EMPTY,
            attributes: std::ptr::null(),
            n_attributes: 0,
            reserved: 0,
            time_ns: 0,
            ack_token: 0,
            owner: std::ptr::null_mut(),
        }
    }
}

#[repr(C)]
pub struct EventBatch {
    pub struct_size: u32,
    pub stride: u32,
    pub events: *const Event,
    pub count: usize,
}

#[repr(C)]
pub struct Message {
    pub token: u64,
    pub payload: Str,
    pub content_type: Str,
    pub templates: *const Str,
    pub attributes: *const Kv,
    pub headers: *const Kv,
    pub n_attributes: u32,
    pub n_headers: u32,
    pub id: Str,
    pub attempt: u32,
    pub reserved: u32,
}

#[repr(C)]
pub struct MessageBatch {
    pub struct_size: u32,
    pub stride: u32,
    pub messages: *const Message,
    pub count: usize,
    pub lane: u32,
    pub flags: u32,
}

impl MessageBatch {
    /// # Safety
    /// `index` is below `count`, and the batch is the one of the submit under way.
    pub unsafe fn message_at(&self, index: usize) -> &Message {
        &*(self.messages as *const u8).add(index * self.stride as usize).cast::<Message>()
    }
}

#[repr(C)]
pub struct Receipt {
    pub token: u64,
    pub outcome: i32,
    pub flags: u32,
    pub code: i32,
    pub reserved: u32,
    pub reason: Str,
}

#[repr(C)]
pub struct PluginOption {
    pub name: *const c_char,
    pub kind: i32,
    pub flags: u32,
    pub default_value: *const c_char,
    pub choices: *const c_char,
    pub min: i64,
    pub max: i64,
    pub help: *const c_char,
}

#[repr(C)]
pub struct Value {
    pub kind: i32,
    pub is_set: i32,
    pub i64: i64,
    pub f64: f64,
    pub str: Str,
    pub items: *const Str,
    pub entries: *const Kv,
    pub n: usize,
}

#[repr(C)]
pub struct Config {
    pub struct_size: u32,
    pub value_size: u32,
    pub ctx: *mut c_void,
    pub get: unsafe extern "C" fn(*const Config, *const c_char) -> *const Value,
}

impl Config {
    /// The value of a declared option; `name` ends with a NUL.
    /// # Safety
    /// `config` is what the host passed, and the value is used during that call only.
    pub unsafe fn value<'a>(config: *const Config, name: &'static str) -> &'a Value {
        assert!(name.ends_with('\0'));
        &*((*config).get)(config, name.as_ptr().cast())
    }
}

#[repr(C)]
pub struct Report {
    pub struct_size: u32,
    pub reserved: u32,
    pub ctx: *mut c_void,
    pub add: unsafe extern "C" fn(*const Report, i32, *const c_char, Str),
    pub holds: unsafe extern "C" fn(*const Report, u64),
}

#[repr(C)]
pub struct Host {
    pub struct_size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub ctx: *mut c_void,
    pub instance_name: *const c_char,
    pub host_version: *const c_char,
    pub log_level: *const i32,
    pub read_ahead_bytes: u64,
    pub log: unsafe extern "C" fn(*const Host, i32, Str, *const Kv, usize),
    pub metric: unsafe extern "C" fn(*const Host, i32, *const c_char, *const c_char) -> *mut u64,
    pub report_state: unsafe extern "C" fn(*const Host, i32, Str),
    pub read_secret: unsafe extern "C" fn(*const Host, Str, *mut u8, usize, *mut usize, *mut Error) -> Status,
    pub emit: unsafe extern "C" fn(*const Host, *const EventBatch, *mut usize, i64) -> Status,
    pub stopping: unsafe extern "C" fn(*const Host) -> i32,
    pub complete: unsafe extern "C" fn(*const Host, *const Receipt, usize),
    pub ready: unsafe extern "C" fn(*const Host),
    pub extension: unsafe extern "C" fn(*const Host, *const c_char) -> *const c_void,
}

/// What an instance points to is the plugin's own; a plugin casts it.
pub type Instance = c_void;

#[repr(C)]
pub struct Plugin {
    pub magic: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub struct_size: u32,
    pub kind: u32,
    pub caps: u32,
    pub option_stride: u32,
    pub receipt_stride: u32,
    pub reserved: u32,
    pub id: *const c_char,
    pub version: *const c_char,
    pub summary: *const c_char,
    pub vendor: *const c_char,
    pub license: *const c_char,
    pub doc_url: *const c_char,
    pub options: *const PluginOption,
    pub n_options: usize,
    pub check: Option<unsafe extern "C" fn(*const Config, *const Report)>,
    pub create: Option<unsafe extern "C" fn(*const Host, *const Config, *mut *mut Instance, *mut Error) -> Status>,
    pub start: Option<unsafe extern "C" fn(*mut Instance, *mut Error) -> Status>,
    pub stop: Option<unsafe extern "C" fn(*mut Instance)>,
    pub destroy: Option<unsafe extern "C" fn(*mut Instance)>,
    pub run: Option<unsafe extern "C" fn(*mut Instance, *mut Error) -> Status>,
    pub on_ack: Option<unsafe extern "C" fn(*mut Instance, *const u64, usize)>,
    pub submit: Option<unsafe extern "C" fn(*mut Instance, *const MessageBatch, *mut usize) -> Status>,
    pub cancel: Option<unsafe extern "C" fn(*mut Instance, *const u64, usize)>,
    pub flush: Option<unsafe extern "C" fn(*mut Instance)>,
    pub extension: Option<unsafe extern "C" fn(*mut Instance, *const c_char) -> *const c_void>,
}

// Constant data, which every thread may read.
unsafe impl Sync for Plugin {}
unsafe impl Sync for PluginOption {}

impl Plugin {
    /// A table with its head filled in; all texts end with a NUL.
    pub const fn head(kind: u32, id: &'static str, version: &'static str, summary: &'static str) -> Plugin {
        Plugin {
            magic: MAGIC,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            struct_size: std::mem::size_of::<Plugin>() as u32,
            kind,
            caps: 0,
            option_stride: std::mem::size_of::<PluginOption>() as u32,
            receipt_stride: std::mem::size_of::<Receipt>() as u32,
            reserved: 0,
            id: id.as_ptr() as *const c_char,
            version: version.as_ptr() as *const c_char,
            summary: summary.as_ptr() as *const c_char,
            vendor: std::ptr::null(),
            license: std::ptr::null(),
            doc_url: std::ptr::null(),
            options: std::ptr::null(),
            n_options: 0,
            check: None,
            create: None,
            start: None,
            stop: None,
            destroy: None,
            run: None,
            on_ack: None,
            submit: None,
            cancel: None,
            flush: None,
            extension: None,
        }
    }
}

#[repr(C, align(4))]
pub struct Note {
    namesz: u32,
    descsz: u32,
    kind_of_note: u32,
    name: [u8; 12],
    magic: u32,
    abi_major: u32,
    abi_minor: u32,
    kind: u32,
    id: [u8; 48],
    version: [u8; 32],
}

impl Note {
    pub const fn of(kind: u32, id: &str, version: &str) -> Note {
        Note {
            namesz: 9,
            descsz: 16 + 48 + 32,
            kind_of_note: 1,
            name: padded("Penstock"),
            magic: MAGIC,
            abi_major: ABI_MAJOR as u32,
            abi_minor: ABI_MINOR as u32,
            kind,
            id: padded(id),
            version: padded(version),
        }
    }
}

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < text.len() {
        out[i] = text.as_bytes()[i];
        i += 1;
    }
    out
}

/// Makes a file of this crate a plugin: the note, and the entry that the host looks for.
#[macro_export]
macro_rules! penstock_plugin {
    ($kind:expr, $id:literal, $version:literal, $summary:literal, { $($member:ident: $value:expr),* $(,)? }) => {
        #[used]
        #[link_section = ".note.penstock"]
        static PENSTOCK_NOTE: $crate::penstock::Note =
            $crate::penstock::Note::of($kind, concat!($id, "\0"), concat!($version, "\0"));
        #[no_mangle]
        #[allow(non_upper_case_globals)]
        pub static penstock_plugin_entry: $crate::penstock::Plugin = $crate::penstock::Plugin {
            $($member: $value,)*
            ..$crate::penstock::Plugin::head($kind, concat!($id, "\0"), concat!($version, "\0"), concat!($summary, "\0"))
        };
    };
}

// The layout of ABI 1.0: what differs does not compile.
const _: [(); 1024] = [(); std::mem::size_of::<Error>()];
const _: [(); 120] = [(); std::mem::size_of::<Event>()];
const _: [(); 96] = [(); std::mem::size_of::<Message>()];
const _: [(); 32] = [(); std::mem::size_of::<MessageBatch>()];
const _: [(); 40] = [(); std::mem::size_of::<Receipt>()];
const _: [(); 56] = [(); std::mem::size_of::<PluginOption>()];
const _: [(); 64] = [(); std::mem::size_of::<Value>()];
const _: [(); 24] = [(); std::mem::size_of::<Config>()];
const _: [(); 120] = [(); std::mem::size_of::<Host>()];
const _: [(); 184] = [(); std::mem::size_of::<Plugin>()];
const _: [(); 120] = [(); std::mem::size_of::<Note>()];
