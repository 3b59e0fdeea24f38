//! Documents of templates, and what our pages have in common.

use minijinja::{Environment, Error, UndefinedBehavior, Value};

/// Colours and plain elements of all our pages, as CSS.
pub const THEME: &str = include_str!("theme.css");

/// Fills a template. The ending of `name` tells how values are escaped: as of HTML or XML.
///
/// # Errors
/// A mistake in the template, such as a name that has no value.
pub fn render(name: &str, template: &str, values: Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.render_named_str(name, template, values)
}
