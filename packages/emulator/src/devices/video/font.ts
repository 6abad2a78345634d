/**
 * A font of 8x16 pixels for pictures of text screens, drawn for this purpose: ASCII on a grid of 5x9 (seven rows and two for
 * descenders), lines and blocks of code page 437 computed; any other character is an empty box.
 */
export const glyphWidth = 8;
/** In lines: of a character in text modes. */
export const glyphHeight = 16;

/** From the space on: nine rows each, a row in one digit of base 32, its leftmost column in the highest bit. */
const ascii =
  '000000000 444440400 aaa000000 aavavaa00 4fke5u400 pp248jj00 cik8lid00 448000000 248884200 842224800 04lel4000 044v44000 00000cc48 ' +
  '000v00000 00000cc00 11248gg00 ehjlphe00 4c4444e00 eh1248v00 v2421he00 26aiv2200 vgu11he00 68guhhe00 v12488800 ehhehhe00 ehhf12c00 ' +
  '0cc0cc000 0cc0cc480 248g84200 00v0v0000 842124800 eh1240400 eh1dlle00 ehhvhhh00 uhhuhhu00 ehggghe00 sihhhis00 vgguggv00 vgguggg00 ' +
  'ehgnhhf00 hhhvhhh00 e44444e00 72222ic00 hikokih00 ggggggv00 hrllhhh00 hhpljhh00 ehhhhhe00 uhhuggg00 ehhhlid00 uhhukih00 fgge11u00 ' +
  'v44444400 hhhhhhe00 hhhhha400 hhhllla00 hha4ahh00 hhha44400 v1248gv00 e88888e00 gg8421100 e22222e00 4ah000000 0000000v0 842000000 ' +
  '00e1fhf00 ggmphhu00 00egghe00 11djhhf00 00ehvge00 698s88800 00fhhhf1e ggmphhh00 40c444e00 2062222ic ggikoki00 c44444e00 00qllhh00 ' +
  '00mphhh00 00ehhhe00 00uhhhugg 00fhhhf11 00mpggg00 00fge1u00 88s889600 00hhhjd00 00hhha400 00hhlla00 00ha4ah00 00hhhhf1e 00v248v00 ' +
  '244844200 444444400 844244800 8l2000000';
const asciiRows = ascii.split(' ');
/** Pixels that each of the nine rows takes, below one empty line. */
const rowHeights = [2, 1, 2, 1, 2, 1, 2, 2, 1];

/** Codes 0xb3 to 0xda: lines up, right, down and left; 0 none, 1 single, 2 double. */
const lineArms =
  '1010 1011 1012 2021 0021 0012 2022 2020 0022 2002 2001 1002 0011 1100 1101 0111 1110 0101 1111 1210 2120 2200 0220 2202 0222 2220 0202 ' +
  '2222 1202 2101 0212 0121 2100 1200 0210 0120 2121 1212 1001 0110';
const firstLine = 0xb3;
const arms = lineArms.split(' ');

type Dots = (x: number, y: number) => boolean;

const shades: Record<number, Dots> = {
  0xb0: (x, y) => x % 4 === (y % 2) * 2,
  0xb1: (x, y) => x % 2 === y % 2,
  0xb2: (x, y) => x % 4 !== (y % 2) * 2,
  0xdb: () => true,
  0xdc: (_x, y) => y >= 8,
  0xdd: (x) => x < 4,
  0xde: (x) => x >= 4,
  0xdf: (_x, y) => y < 8,
  0xfe: (x, y) => x >= 1 && x < 7 && y >= 5 && y < 11,
  0xfa: (x, y) => x >= 3 && x < 5 && y >= 7 && y < 9,
  0xff: () => false,
};

const emptyBox: Dots = (x, y) =>
  x >= 1 && x <= 6 && y >= 2 && y <= 13 && (x === 1 || x === 6 || y === 2 || y === 13);

function lineDots([up = '0', right = '0', down = '0', left = '0']: string): Dots {
  const across = (kind: string, x: number): boolean =>
    kind === '2' ? x === 2 || x === 5 : kind === '1' && (x === 3 || x === 4);
  const along = (kind: string, y: number): boolean =>
    kind === '2' ? y === 6 || y === 9 : kind === '1' && (y === 7 || y === 8);
  const middle = (value: number, first: number, last: number): boolean => value >= first && value <= last;
  return (x, y) =>
    (y <= 9 && across(up, x)) ||
    (y >= 6 && across(down, x)) ||
    ((x <= 4 || middle(x, 4, 5)) && along(left, y)) ||
    ((x >= 3 || middle(x, 2, 3)) && along(right, y));
}

function asciiDots(rows: string): Dots {
  const lines: number[] = [0];
  for (const [n, height] of rowHeights.entries())
    for (let i = 0; i < height; i++) lines.push(parseInt(rows[n] ?? '0', 32));
  return (x, y) => x >= 1 && x <= 5 && (((lines[y] ?? 0) >> (5 - x)) & 1) === 1;
}

/** Whether the pixel at x (0-7) and y (0-15) of a character of code page 437 is set. */
export function glyph(code: number): Dots {
  if (code === 0) return () => false;
  const rows = asciiRows[code - 0x20];
  if (rows !== undefined) return asciiDots(rows);
  const line = arms[code - firstLine];
  if (line !== undefined) return lineDots(line);
  return shades[code] ?? emptyBox;
}
