//! Ends a cut of encoded video with all of its pictures.
//!
//! Pictures are decoded in another order than they play in: the last ones that are wanted may refer to some that play after the cut. These
//! have to go along. They play in the time between the last wanted picture and the end of the cut, each for a part of it.

use desumnet_decide::timeline::Piece;

/// A picture in the order of decoding: when it plays, ns, and whether it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub time: u64,
    pub wanted: bool,
}

/// Where pictures play that go along, in the input.
#[derive(Debug)]
pub struct Closing {
    pub piece: Piece,
    /// In the order in which they play.
    times: Vec<u64>,
    last: u64,
}

impl Closing {
    /// Of a piece whose last picture so far plays at `last`, ns, and the pictures from the first on that is not wanted up to the first that
    /// no wanted one comes after. `None`: none of them is needed.
    pub fn new(piece: Piece, last: u64, pictures: &[Picture]) -> Option<Self> {
        let needed = pictures.iter().rposition(|picture| picture.wanted)?;
        let (wanted, others): (Vec<&Picture>, Vec<_>) =
            pictures[..needed + 1].iter().partition(|picture| picture.wanted);
        let last = wanted.iter().map(|picture| picture.time).max().unwrap_or(0).max(last);
        let mut times: Vec<u64> = others.iter().map(|picture| picture.time).collect();
        times.sort_unstable();
        Some(Self { piece, times, last })
    }

    /// Where the picture that plays at `time` plays now, and for how long, ns; `None`: it does not go along.
    pub fn place(&self, time: u64) -> Option<(u64, u64)> {
        let number = self.times.binary_search(&time).ok()? as u64;
        let share = self.piece.until.saturating_sub(self.last) / (self.times.len() as u64 + 1);
        Some((self.last + share * (number + 1), share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(pictures: &[u64]) -> Option<Closing> {
        let piece = Piece { from: 0, until: 60, to: 0.0, speed: 1.0 };
        let pictures: Vec<_> = pictures.iter().map(|&time| Picture { time, wanted: time < 60 }).collect();
        Closing::new(piece, 40, &pictures)
    }

    #[test]
    fn what_the_last_pictures_refer_to_plays_behind_them() {
        // A pyramid: the picture at 50 is decoded by those at 60 and 80.
        let closed = closing(&[80, 60, 50, 70]).unwrap();
        assert_eq!([60, 80, 70, 50].map(|time| closed.place(time)), [Some((53, 3)), Some((56, 3)), None, None]);
        assert!(closing(&[80, 60, 70]).is_none());
        assert!(closing(&[]).is_none());
    }
}
