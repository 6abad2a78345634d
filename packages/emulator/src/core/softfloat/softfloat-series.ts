/**
 * The series of the transcendental instructions, by Horner's rule in fixed point: a fraction is high:low in units of 2^-128. A step is three
 * multiplications of words, one where only the lower word counts; its error is below 4 units, and the sum's, as errors shrink with each
 * further step, below 16. Slots are those of Num.
 */
import { Num } from './softfloat-number';
import { Wide } from './softfloat-wide';

/** 1 / n! for n = 2 to 35, high and low word of each; rounded. */
// prettier-ignore
const inverseFactorials = memory.data<u64>([
  0x8000_0000_0000_0000, 0x0000_0000_0000_0000,
  0x2aaa_aaaa_aaaa_aaaa, 0xaaaa_aaaa_aaaa_aaab,
  0x0aaa_aaaa_aaaa_aaaa, 0xaaaa_aaaa_aaaa_aaab,
  0x0222_2222_2222_2222, 0x2222_2222_2222_2222,
  0x005b_05b0_5b05_b05b, 0x05b0_5b05_b05b_05b0,
  0x000d_00d0_0d00_d00d, 0x00d0_0d00_d00d_00d0,
  0x0001_a01a_01a0_1a01, 0xa01a_01a0_1a01_a01a,
  0x0000_2e3b_c74a_ad8e, 0x671f_5583_911c_a003,
  0x0000_049f_93ed_de27, 0xd71c_bbc0_5b4f_a99a,
  0x0000_006b_9915_9fd5, 0x138e_3f9d_1f92_e0df,
  0x0000_0008_f76c_77fc, 0x6c4b_daa2_6d4c_3d68,
  0x0000_0000_b092_309d, 0x4368_4be5_1c19_8e92,
  0x0000_0000_0c9c_ba54, 0x603e_4e90_5d6f_8a2f,
  0x0000_0000_00d7_3f9f, 0x399d_c0f8_8ec3_2b58,
  0x0000_0000_000d_73f9, 0xf399_dc0f_88ec_32b6,
  0x0000_0000_0000_ca96, 0x3b81_856a_5359_3029,
  0x0000_0000_0000_0b41, 0x3c31_dcbe_cbbd_d802,
  0x0000_0000_0000_0097, 0xa4da_340a_0ab9_2651,
  0x0000_0000_0000_0007, 0x950a_e900_8089_41ea,
  0x0000_0000_0000_0000, 0x5c6e_3bdb_73d5_c630,
  0x0000_0000_0000_0000, 0x0433_8e5b_6dfe_14a5,
  0x0000_0000_0000_0000, 0x002e_c368_262c_7034,
  0x0000_0000_0000_0000, 0x0001_f2cf_0197_2f57,
  0x0000_0000_0000_0000, 0x0000_13f3_ccdd_1660,
  0x0000_0000_0000_0000, 0x0000_00c4_742f_e352,
  0x0000_0000_0000_0000, 0x0000_0007_46ac_70b7,
  0x0000_0000_0000_0000, 0x0000_0000_4286_2899,
  0x0000_0000_0000_0000, 0x0000_0000_024b_3f31,
  0x0000_0000_0000_0000, 0x0000_0000_0013_932c,
  0x0000_0000_0000_0000, 0x0000_0000_0000_a1a7,
  0x0000_0000_0000_0000, 0x0000_0000_0000_050d,
  0x0000_0000_0000_0000, 0x0000_0000_0000_0027,
  0x0000_0000_0000_0000, 0x0000_0000_0000_0001,
  0x0000_0000_0000_0000, 0x0000_0000_0000_0000,
]);

/** 1 / n for n = 3, 5, … 55. */
// prettier-ignore
const inverseOdds = memory.data<u64>([
  0x5555_5555_5555_5555, 0x5555_5555_5555_5555,
  0x3333_3333_3333_3333, 0x3333_3333_3333_3333,
  0x2492_4924_9249_2492, 0x4924_9249_2492_4925,
  0x1c71_c71c_71c7_1c71, 0xc71c_71c7_1c71_c71c,
  0x1745_d174_5d17_45d1, 0x745d_1745_d174_5d17,
  0x13b1_3b13_b13b_13b1, 0x3b13_b13b_13b1_3b14,
  0x1111_1111_1111_1111, 0x1111_1111_1111_1111,
  0x0f0f_0f0f_0f0f_0f0f, 0x0f0f_0f0f_0f0f_0f0f,
  0x0d79_435e_50d7_9435, 0xe50d_7943_5e50_d794,
  0x0c30_c30c_30c3_0c30, 0xc30c_30c3_0c30_c30c,
  0x0b21_642c_8590_b216, 0x42c8_590b_2164_2c86,
  0x0a3d_70a3_d70a_3d70, 0xa3d7_0a3d_70a3_d70a,
  0x097b_425e_d097_b425, 0xed09_7b42_5ed0_97b4,
  0x08d3_dcb0_8d3d_cb08, 0xd3dc_b08d_3dcb_08d4,
  0x0842_1084_2108_4210, 0x8421_0842_1084_2108,
  0x07c1_f07c_1f07_c1f0, 0x7c1f_07c1_f07c_1f08,
  0x0750_7507_5075_0750, 0x7507_5075_0750_7507,
  0x06eb_3e45_306e_b3e4, 0x5306_eb3e_4530_6eb4,
  0x0690_6906_9069_0690, 0x6906_9069_0690_6907,
  0x063e_7063_e706_3e70, 0x63e7_063e_7063_e706,
  0x05f4_17d0_5f41_7d05, 0xf417_d05f_417d_05f4,
  0x05b0_5b05_b05b_05b0, 0x5b05_b05b_05b0_5b06,
  0x0572_620a_e4c4_15c9, 0x882b_9310_5726_20ae,
  0x0539_7829_cbc1_4e5e, 0x0a72_f053_9782_9cbc,
  0x0505_0505_0505_0505, 0x0505_0505_0505_0505,
  0x04d4_873e_cade_304d, 0x4873_ecad_e304_d487,
  0x04a7_904a_7904_a790, 0x4a79_04a7_904a_7905,
]);

const wordPairBytes = 16;
/** Terms below 2^-130 count for nothing. */
const usefulBits = 130;

export class Series {
  /**
   * Slot `to` = c[0] + y * (c[1] + y * (c[2] + …)) with y = |number in slot `from`| < 1; with `alternating` the signs change from term to
   * term. The coefficients lie `stride` bytes apart from `table` on; at most `count` are used.
   */
  private static sum(to: i32, from: i32, table: usize, stride: i32, count: i32, alternating: bool): void {
    let yHigh: u64 = 0;
    let yLow: u64 = 0;
    if (Num.high(from) != 0) {
      Wide.shiftRightJam(Num.high(from), Num.low(from), -(Num.exponent(from) + 1));
      yHigh = Wide.high;
      yLow = Wide.low;
    }
    const zeros = yHigh == 0 ? 64 : <i32>clz(yHigh);
    const terms = zeros == 0 ? count : min(count, usefulBits / zeros + 2);
    let at = table + (terms - 1) * stride;
    let high = load<u64>(at);
    let low = load<u64>(at, 8);
    while (at > table) {
      at -= stride;
      let productHigh: u64 = 0;
      let productLow = Wide.multiplyHigh(yHigh, low);
      if (high != 0) {
        const second = Wide.multiplyHigh(yLow, high);
        Wide.multiply(yHigh, high);
        productHigh = Wide.high;
        productLow += Wide.low;
        if (productLow < Wide.low) productHigh++;
        productLow += second;
        if (productLow < second) productHigh++;
      }
      const termHigh = load<u64>(at);
      const termLow = load<u64>(at, 8);
      if (alternating) {
        low = termLow - productLow;
        high = termHigh - productHigh - u64(termLow < productLow);
      } else {
        low = termLow + productLow;
        high = termHigh + productHigh + u64(low < termLow);
      }
    }
    Num.setNormalized(to, 0, -1, high, low);
  }

  /** Slot `to` = 1/2! + y/3! + y^2/4! + … with y in slot `from`, |y| < ln 2; with `alternating` the signs change. */
  static exponential(to: i32, from: i32, alternating: bool): void {
    Series.sum(to, from, inverseFactorials, wordPairBytes, 32, alternating);
  }

  /** Slot `to` = 1/3! - y/5! + y^2/7! - …, or with `even` 1/2! - y/4! + y^2/6! - …, of y in slot `from`, y < 0.62. */
  static circular(to: i32, from: i32, even: i32): void {
    const table = inverseFactorials + (even ? 0 : wordPairBytes);
    Series.sum(to, from, table, 2 * wordPairBytes, 17, true);
  }

  /** Slot `to` = 1/3 + y/5 + y^2/7 + … of y in slot `from`, y < 0.033; with `alternating` the signs change. */
  static inverse(to: i32, from: i32, alternating: bool): void {
    Series.sum(to, from, inverseOdds, wordPairBytes, 27, alternating);
  }
}
