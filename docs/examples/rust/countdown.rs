//! A source plugin in Rust: counts down, and is finished.

#[macro_use]
#[path = "penstock.rs"]
mod penstock;

use penstock::*;
use std::ptr;

struct Countdown {
    host: *const Host,
    from: i64,
}

unsafe extern "C" fn create(
    host: *const Host,
    config: *const Config,
    out: *mut *mut Instance,
    _error: *mut Error,
) -> Status {
    let from = Config::value(config, "from\0").i64;
    *out = Box::into_raw(Box::new(Countdown { host, from })).cast();
    OK
}

unsafe extern "C" fn run(instance: *mut Instance, _error: *mut Error) -> Status {
    let this = &*(instance as *const Countdown);
    let host = this.host;
    for n in (1..=this.from).rev() {
        let text = n.to_string();
        let event = Event::of(text.as_bytes());
        let batch = EventBatch {
            struct_size: std::mem::size_of::<EventBatch>() as u32,
            stride: std::mem::size_of::<Event>() as u32,
            events: &event,
            count: 1,
        };
        let mut accepted = 0;
        match ((*host).emit)(host, &batch, &mut accepted, -1) {
            OK if ((*host).stopping)(host) == 0 => {}
            status => return status.min(OK),
        }
    }
    OK
}

// run() asks the host whether to go on.
unsafe extern "C" fn stop(_instance: *mut Instance) {}

unsafe extern "C" fn destroy(instance: *mut Instance) {
    drop(Box::from_raw(instance as *mut Countdown));
}

static OPTIONS: [PluginOption; 1] = [PluginOption {
    name: "from\0".as_ptr() as *const _,
    kind: OPT_INT,
    flags: 0,
    default_value: "10\0".as_ptr() as *const _,
    choices: ptr::null(),
    min: 1,
    max: 1_000_000,
    help: "The first number.\0".as_ptr() as *const _,
}];

penstock_plugin!(SOURCE, "countdown", "1.0.0", "Counts down, and is finished.", {
    options: OPTIONS.as_ptr(),
    n_options: 1,
    create: Some(create),
    run: Some(run),
    stop: Some(stop),
    destroy: Some(destroy),
});
