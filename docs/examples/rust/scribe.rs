//! A sink plugin in Rust: appends each payload to a file, one a line.

#[macro_use]
#[path = "penstock.rs"]
mod penstock;

use penstock::*;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ptr;

struct Scribe {
    host: *const Host,
    file: File,
}

unsafe extern "C" fn create(
    host: *const Host,
    config: *const Config,
    out: *mut *mut Instance,
    error: *mut Error,
) -> Status {
    let path = String::from_utf8_lossy(Config::value(config, "path\0").str.bytes()).into_owned();
    match OpenOptions::new().append(true).create(true).open(&path) {
        Ok(file) => {
            *out = Box::into_raw(Box::new(Scribe { host, file })).cast();
            OK
        }
        Err(e) => Error::fail(error, &format!("cannot open {path}: {e}")),
    }
}

// A file answers at once, so the receipts are given here; a sink whose bus takes time gives them
// from a thread of its own.
unsafe extern "C" fn submit(
    instance: *mut Instance,
    batch: *const MessageBatch,
    accepted: *mut usize,
) -> Status {
    let this = &mut *(instance as *mut Scribe);
    let mut receipts = Vec::with_capacity((*batch).count);
    for i in 0..(*batch).count {
        let message = (*batch).message_at(i);
        let mut line = message.payload.bytes().to_vec();
        line.push(b'\n');
        let written = this.file.write_all(&line).is_ok();
        receipts.push(Receipt {
            token: message.token,
            outcome: if written { DELIVERED } else { UNKNOWN },
            flags: 0,
            code: 0,
            reserved: 0,
            reason: if written { Str::EMPTY } else { Str::of(b"the file could not be written") },
        });
    }
    *accepted = receipts.len();
    ((*this.host).complete)(this.host, receipts.as_ptr(), receipts.len());
    OK
}

unsafe extern "C" fn stop(_instance: *mut Instance) {}

unsafe extern "C" fn destroy(instance: *mut Instance) {
    drop(Box::from_raw(instance as *mut Scribe));
}

static OPTIONS: [PluginOption; 1] = [PluginOption {
    name: "path\0".as_ptr() as *const _,
    kind: OPT_STRING,
    flags: OPT_REQUIRED,
    default_value: ptr::null(),
    choices: ptr::null(),
    min: 0,
    max: 0,
    help: "The file to append to.\0".as_ptr() as *const _,
}];

penstock_plugin!(SINK, "scribe", "1.0.0", "Appends each payload to a file, one a line.", {
    options: OPTIONS.as_ptr(),
    n_options: 1,
    create: Some(create),
    submit: Some(submit),
    stop: Some(stop),
    destroy: Some(destroy),
});
