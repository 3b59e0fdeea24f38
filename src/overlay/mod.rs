//! What `desumoverlay` draws: a panel with the score, and a heat map. Pure: numbers in, pixels out.

pub mod canvas;
pub mod heat;
pub mod history;
pub mod panel;

/// A place in a picture, pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// What is drawn: the `show` property.
#[glib::flags(name = "DeSumNetOverlayShow")]
pub enum Show {
    #[flags_value(name = "Bar as long as the segment's importance", nick = "bar")]
    BAR = 1 << 0,
    #[flags_value(name = "Category, confidence and importance", nick = "text")]
    TEXT = 1 << 1,
    #[flags_value(name = "Importance of the last 30 s, with the starts of shots", nick = "graph")]
    GRAPH = 1 << 2,
    #[flags_value(name = "Heat map of the importance, with desumnet map=true", nick = "map")]
    MAP = 1 << 3,
}
