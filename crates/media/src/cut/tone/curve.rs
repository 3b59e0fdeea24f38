//! From a pixel's code in HDR to its code in SDR.

use super::{Hdr, Transfer};

/// Light of white in SDR, and of a white sheet in HDR (ITU-R BT.2408), cd/m².
const WHITE: f64 = 203.0;
/// Light of 1 in PQ, cd/m².
const BRIGHTEST: f64 = 10_000.0;
/// Exponent of a screen for SDR (ITU-R BT.1886).
const GAMMA: f64 = 2.4;

/// From BT.2020's primaries to BT.709's (ITU-R BT.2087).
const TO_709: [[f64; 3]; 3] = [[1.6605, -0.5876, -0.0729], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]];
/// Shares of red and blue in luma.
const BT2020: (f64, f64) = (0.2627, 0.0593);
const BT709: (f64, f64) = (0.2126, 0.0722);

/// Luma and the two chromas of 10 bits in BT.2020's, of limited range; the same of 8 bits in BT.709's, not rounded.
pub fn convert(hdr: Hdr, code: [f64; 3]) -> [f64; 3] {
    let ycc = [(code[0] - 64.0) / 876.0, (code[1] - 512.0) / 896.0, (code[2] - 512.0) / 896.0];
    let light = light(hdr.transfer, rgb(ycc, BT2020).map(|value| value.clamp(0.0, 1.0)));
    let brightest = light.iter().copied().fold(0.0, f64::max);
    // All three by as much: the hue stays.
    let by = if brightest > 0.0 { compressed(brightest, hdr.peak) / brightest / WHITE } else { 0.0 };
    let row = |row: [f64; 3]| row.iter().zip(light).map(|(share, light)| share * light * by).sum::<f64>();
    let shown = TO_709.map(row).map(|light| light.clamp(0.0, 1.0).powf(1.0 / GAMMA));
    let [y, cb, cr] = ycc_of(shown, BT709);
    [16.0 + 219.0 * y, 128.0 + 224.0 * cb, 128.0 + 224.0 * cr]
}

fn rgb([y, cb, cr]: [f64; 3], (kr, kb): (f64, f64)) -> [f64; 3] {
    let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
    [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
}

fn ycc_of([r, g, b]: [f64; 3], (kr, kb): (f64, f64)) -> [f64; 3] {
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    [y, (b - y) / 2.0 / (1.0 - kb), (r - y) / 2.0 / (1.0 - kr)]
}

/// Of a screen, cd/m² (ITU-R BT.2100, tables 4 and 5).
fn light(transfer: Transfer, coded: [f64; 3]) -> [f64; 3] {
    match transfer {
        Transfer::Pq => coded.map(pq_light),
        Transfer::Hlg => {
            const A: f64 = 0.178_832_77;
            const B: f64 = 0.284_668_92;
            const C: f64 = 0.559_910_73;
            let scene = coded
                .map(|value| if value <= 0.5 { value * value / 3.0 } else { (((value - C) / A).exp() + B) / 12.0 });
            let (kr, kb) = BT2020;
            let luma = kr * scene[0] + (1.0 - kr - kb) * scene[1] + kb * scene[2];
            // Gamma 1.2, of a screen of 1,000 cd/m².
            scene.map(|value| super::USUAL_PEAK * luma.max(0.0).powf(0.2) * value)
        }
    }
}

const M1: f64 = 2_610.0 / 16_384.0;
const M2: f64 = 2_523.0 / 4_096.0 * 128.0;
const C1: f64 = 3_424.0 / 4_096.0;
const C2: f64 = 2_413.0 / 4_096.0 * 32.0;
const C3: f64 = 2_392.0 / 4_096.0 * 32.0;

fn pq_light(coded: f64) -> f64 {
    let root = coded.powf(1.0 / M2);
    BRIGHTEST * ((root - C1).max(0.0) / (C2 - C3 * root)).powf(1.0 / M1)
}

fn pq_code(light: f64) -> f64 {
    let power = (light / BRIGHTEST).clamp(0.0, 1.0).powf(M1);
    ((C1 + C2 * power) / (1.0 + C3 * power)).powf(M2)
}

/// Light of a screen whose white is [`WHITE`] for light up to `peak`, cd/m²: dark and middle tones stay, and bright ones bend into what is
/// left (ITU-R BT.2390, 5.4.1).
fn compressed(light: f64, peak: f64) -> f64 {
    let whole = pq_code(peak);
    let (value, most) = ((pq_code(light) / whole).min(1.0), pq_code(WHITE) / whole);
    if most >= 1.0 {
        return light.min(WHITE);
    }
    let knee = 1.5 * most - 0.5;
    if value <= knee {
        return light;
    }
    let t = (value - knee) / (1.0 - knee);
    let (t2, t3) = (t * t, t * t * t);
    let bent = (2.0 * t3 - 3.0 * t2 + 1.0) * knee + (t3 - 2.0 * t2 + t) * (1.0 - knee) + (3.0 * t2 - 2.0 * t3) * most;
    pq_light(bent * whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PQ: Hdr = Hdr { transfer: Transfer::Pq, peak: 1_000.0 };
    const HLG: Hdr = Hdr { transfer: Transfer::Hlg, peak: 1_000.0 };

    fn grey(hdr: Hdr, signal: f64) -> f64 {
        let [luma, cb, cr] = convert(hdr, [64.0 + 876.0 * signal, 512.0, 512.0]);
        assert!((cb - 128.0).abs() < 0.05 && (cr - 128.0).abs() < 0.05, "{cb} {cr}");
        (luma - 16.0) / 219.0
    }

    #[test]
    fn light_is_as_the_recommendations_tabulate_it() {
        // BT.2408, table 1: a white sheet, and a grey one of 18 %.
        assert!((pq_code(203.0) - 0.58).abs() < 0.002 && (pq_code(26.0) - 0.38).abs() < 0.003);
        assert!((light(Transfer::Hlg, [0.75; 3])[0] - 203.0).abs() < 1.0);
        assert!((light(Transfer::Hlg, [0.38; 3])[0] - 26.0).abs() < 1.0);
        assert!((pq_light(pq_code(203.0)) - 203.0).abs() < 1e-6);
    }

    #[test]
    fn dark_tones_stay_and_bright_ones_reach_white_at_the_peak() {
        assert_eq!(compressed(50.0, 1_000.0), 50.0);
        assert!((compressed(1_000.0, 1_000.0) - WHITE).abs() < 1e-6);
        assert_eq!(compressed(500.0, 150.0), WHITE);
        let rising: Vec<f64> = (1..100).map(|tens| compressed(f64::from(tens) * 10.0, 1_000.0)).collect();
        assert!(rising.windows(2).all(|pair| pair[0] < pair[1]), "{rising:?}");
        for hdr in [PQ, HLG] {
            assert!(grey(hdr, 0.0).abs() < 1e-6);
            let (sheet, middle) = if hdr == PQ { (0.58, 0.38) } else { (0.75, 0.38) };
            assert!((0.85..0.95).contains(&grey(hdr, sheet)), "{}", grey(hdr, sheet));
            assert!((grey(hdr, middle) - (26.0f64 / 203.0).powf(1.0 / 2.4)).abs() < 0.01, "{}", grey(hdr, middle));
        }
        assert!((grey(HLG, 1.0) - 1.0).abs() < 1e-3 && (grey(PQ, 0.7518) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn colours_get_the_codes_of_bt_709() {
        // Red of BT.709, 50 cd/m² bright, in BT.2020: below the knee, so only its coding changes.
        let red = [0.6274, 0.0691, 0.0164].map(|share| pq_code(50.0 * share));
        let code = ycc_of(red, BT2020);
        let coded = [64.0 + 876.0 * code[0], 512.0 + 896.0 * code[1], 512.0 + 896.0 * code[2]];
        let expected = ycc_of([(50.0f64 / 203.0).powf(1.0 / 2.4), 0.0, 0.0], BT709);
        let expected = [16.0 + 219.0 * expected[0], 128.0 + 224.0 * expected[1], 128.0 + 224.0 * expected[2]];
        let got = convert(PQ, coded);
        // Near black a thousandth of light is many codes.
        assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 6.0), "{got:?} {expected:?}");
    }
}
