//! Sixteen float32 channels at a time, by whatever the processor has: AVX-512, AVX2 with FMA, NEON, or plain Rust.
//!
//! A kernel is written once, over [`Lanes`], and compiled for each. Whoever holds a value of an instruction set has asked the
//! processor for it; that makes its methods safe.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

/// Channels that every kernel takes at a time. Activations and weights are padded to it.
pub const LANES: usize = 16;

/// Sixteen numbers.
pub type Numbers = [f32; LANES];

/// Sixteen neighbouring channels of one position, on one line of the cache: a load that crosses two takes twice as long.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct Group(pub Numbers);

impl Group {
    pub const ZERO: Self = Self([0.0; LANES]);
}

impl Deref for Group {
    type Target = Numbers;

    fn deref(&self) -> &Numbers {
        &self.0
    }
}

impl DerefMut for Group {
    fn deref_mut(&mut self) -> &mut Numbers {
        &mut self.0
    }
}

/// An instruction set's arithmetic on sixteen numbers.
pub trait Lanes: Copy + Send + Sync {
    /// Sixteen numbers in registers.
    type V: Copy;
    /// Whether there are 32 registers of 16 numbers: room for 28 sums, two weights and a factor.
    const WIDE: bool;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &Numbers) -> Self::V;
    fn store(self, v: Self::V, to: &mut Numbers);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c, with one rounding where the processor can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// A bit for each of the sixteen, the first lowest: where a > b.
    fn greater(self, a: Self::V, b: Self::V) -> u16;
    /// The same: where a = b.
    fn equal(self, a: Self::V, b: Self::V) -> u16;
}

/// A computation that is compiled for every instruction set.
pub trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`, as all that it calls: only so is it compiled for the instruction set.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug)]
pub enum Simd {
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    Portable(Portable),
}

impl Simd {
    /// What this processor has, the fastest first. The last is always [`Simd::Portable`].
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Avx512::detect().map(Self::Avx512));
            all.extend(x86::Avx2::detect().map(Self::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self::Neon(neon::Neon));
        all.push(Self::Portable(Portable));
        all
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// Runs a kernel with these instructions.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(lanes) => lanes.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(lanes) => lanes.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(lanes) => kernel.run(lanes),
            Self::Portable(lanes) => kernel.run(lanes),
        }
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "NEON",
            Self::Portable(_) => "portable",
        })
    }
}

/// Plain Rust, for processors with none of the others, and to test them against.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Lanes for Portable {
    type V = Numbers;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Numbers {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Numbers) -> Numbers {
        *from
    }
    #[inline(always)]
    fn store(self, v: Numbers, to: &mut Numbers) {
        *to = v;
    }
    #[inline(always)]
    fn add(self, a: Numbers, b: Numbers) -> Numbers {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Numbers, b: Numbers) -> Numbers {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul_add(self, a: Numbers, b: Numbers, c: Numbers) -> Numbers {
        // `f32::mul_add` would call a function where the processor has no such instruction.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: Numbers, b: Numbers) -> Numbers {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn greater(self, a: Numbers, b: Numbers) -> u16 {
        (0..LANES).fold(0, |bits, i| bits | u16::from(a[i] > b[i]) << i)
    }
    #[inline(always)]
    fn equal(self, a: Numbers, b: Numbers) -> u16 {
        (0..LANES).fold(0, |bits, i| bits | u16::from(a[i] == b[i]) << i)
    }
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Lanes, Numbers};

    /// AVX-512 F. A value exists only where the processor has it.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx512(());

    /// AVX2 and FMA, two registers for sixteen numbers. A value exists only where the processor has them.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(());

    impl Avx512 {
        pub(super) fn detect() -> Option<Self> {
            // FMA and AVX2 come with it everywhere; asked for because `run` promises them to the compiler.
            let has = is_x86_feature_detected!("avx512f") && Avx2::detect().is_some();
            has.then_some(Self(()))
        }

        pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn run<K: Kernel>(lanes: Avx512, kernel: K) -> K::Output {
                kernel.run(lanes)
            }
            // SAFETY: that `self` exists says that the processor has these instructions.
            unsafe { run(self, kernel) }
        }
    }

    impl Avx2 {
        pub(super) fn detect() -> Option<Self> {
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
        }

        pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
            #[target_feature(enable = "avx2,fma")]
            fn run<K: Kernel>(lanes: Avx2, kernel: K) -> K::Output {
                kernel.run(lanes)
            }
            // SAFETY: that `self` exists says that the processor has these instructions.
            unsafe { run(self, kernel) }
        }
    }

    // SAFETY, of every block in this and the next implementation: that `self` exists says that the processor has the
    // instruction; loads and stores take any alignment, and their sixteen numbers are borrowed.
    impl Lanes for Avx512 {
        type V = __m512;
        const WIDE: bool = true;

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        fn load(self, from: &Numbers) -> __m512 {
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, v: __m512, to: &mut Numbers) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
        }
        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        fn greater(self, a: __m512, b: __m512) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
        }
        #[inline(always)]
        fn equal(self, a: __m512, b: __m512) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
        }
    }

    impl Lanes for Avx2 {
        type V = [__m256; 2];
        const WIDE: bool = false;

        #[inline(always)]
        fn splat(self, x: f32) -> [__m256; 2] {
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        fn load(self, from: &Numbers) -> [__m256; 2] {
            let (halves, _) = from.as_chunks::<8>();
            unsafe { [_mm256_loadu_ps(halves[0].as_ptr()), _mm256_loadu_ps(halves[1].as_ptr())] }
        }
        #[inline(always)]
        fn store(self, v: [__m256; 2], to: &mut Numbers) {
            let (halves, _) = to.as_chunks_mut::<8>();
            unsafe {
                _mm256_storeu_ps(halves[0].as_mut_ptr(), v[0]);
                _mm256_storeu_ps(halves[1].as_mut_ptr(), v[1]);
            }
        }
        #[inline(always)]
        fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn mul_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        }
        #[inline(always)]
        fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn greater(self, a: [__m256; 2], b: [__m256; 2]) -> u16 {
            unsafe { bits([_mm256_cmp_ps::<_CMP_GT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_GT_OQ>(a[1], b[1])]) }
        }
        #[inline(always)]
        fn equal(self, a: [__m256; 2], b: [__m256; 2]) -> u16 {
            unsafe { bits([_mm256_cmp_ps::<_CMP_EQ_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_EQ_OQ>(a[1], b[1])]) }
        }
    }

    /// The sign bits of sixteen numbers.
    ///
    /// # Safety
    /// The processor must have AVX.
    #[inline(always)]
    unsafe fn bits(mask: [__m256; 2]) -> u16 {
        // SAFETY: the caller's promise.
        let [low, high] = unsafe { [_mm256_movemask_ps(mask[0]), _mm256_movemask_ps(mask[1])] };
        (low | high << 8) as u16
    }
}

#[cfg(target_arch = "aarch64")]
pub mod neon {
    use std::{arch::aarch64::*, array::from_fn};

    use super::{Lanes, Numbers};

    /// NEON, four registers for sixteen numbers. Every aarch64 processor has it.
    #[derive(Clone, Copy, Debug)]
    pub struct Neon;

    // SAFETY, of every block: NEON is part of the target; loads and stores are of borrowed numbers.
    impl Lanes for Neon {
        type V = [float32x4_t; 4];
        const WIDE: bool = false;

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            unsafe { [vdupq_n_f32(x); 4] }
        }
        #[inline(always)]
        fn load(self, from: &Numbers) -> Self::V {
            let (quarters, _) = from.as_chunks::<4>();
            from_fn(|i| unsafe { vld1q_f32(quarters[i].as_ptr()) })
        }
        #[inline(always)]
        fn store(self, v: Self::V, to: &mut Numbers) {
            for (quarter, v) in to.as_chunks_mut::<4>().0.iter_mut().zip(v) {
                unsafe { vst1q_f32(quarter.as_mut_ptr(), v) }
            }
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            from_fn(|i| unsafe { vaddq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            from_fn(|i| unsafe { vsubq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            from_fn(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
        }
        #[inline(always)]
        fn max(self, a: Self::V, b: Self::V) -> Self::V {
            from_fn(|i| unsafe { vmaxq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn greater(self, a: Self::V, b: Self::V) -> u16 {
            bits(from_fn(|i| unsafe { vcgtq_f32(a[i], b[i]) }))
        }
        #[inline(always)]
        fn equal(self, a: Self::V, b: Self::V) -> u16 {
            bits(from_fn(|i| unsafe { vceqq_f32(a[i], b[i]) }))
        }
    }

    #[inline(always)]
    fn bits(mask: [uint32x4_t; 4]) -> u16 {
        let ones = [1, 2, 4, 8];
        (0..4).fold(0, |bits, i| {
            bits | unsafe { vaddvq_u32(vandq_u32(mask[i], vld1q_u32(ones.as_ptr()))) as u16 } << (4 * i)
        })
    }
}
