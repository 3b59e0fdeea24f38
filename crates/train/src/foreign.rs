//! Readers of files by other crates, some of which panic at what they do not expect.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    /// A panic of this thread is about to be caught, and is nothing to print.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What a reader gives; `Err` with what it says where it panics. A panic prints nothing.
///
/// # Errors
/// The panic's message.
pub fn read<T>(reader: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                print(panic);
            }
        }));
    });
    let before = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(reader));
    CAUGHT.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it can't be parsed".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        assert_eq!(read(|| 1), Ok(1));
        assert_eq!(read(|| -> u8 { panic!("at {}", 7) }), Err("at 7".into()));
        assert!(read(|| [0; 3][std::hint::black_box(5)]).unwrap_err().contains("out of bounds"));
        assert!(!CAUGHT.get());
    }
}
