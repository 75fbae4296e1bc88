// Numbers and times for people: English digits, UTC.

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

// Prices below this take an exponent: their plain digits would be mostly zeros.
const PLAIN_MIN = 1e-6;
const DECIMALS_MAX = 12;
// Significant digits of the smallest price, at least, if it has them.
const DIGITS_MIN = 4;
// The most that every browser takes.
const BROWSER_DECIMALS_MAX = 20;

// Making a formatter costs more than using it.
const formatters = new Map();

export function fixed(value, decimals) {
  const key = Math.min(decimals, BROWSER_DECIMALS_MAX);
  if (!formatters.has(key)) {
    const options = { minimumFractionDigits: key, maximumFractionDigits: key };
    formatters.set(key, new Intl.NumberFormat("en-US", options));
  }
  return withSign(formatters.get(key).format(value));
}

export const whole = (value) => fixed(value, 0);

export const percent = (share, decimals = 1) => `${fixed(share * 100, decimals)} %`;

// About four significant digits, for volumes and errors.
export function rough(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < PLAIN_MIN) return withSign(value.toExponential(3));
  if (size >= 1000) return fixed(value, 0);
  return fixed(value, Math.max(0, 3 - Math.floor(Math.log10(size))));
}

// Large numbers in few characters: 1.234 M.
export function short(value) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(value) >= size) return `${rough(value / (unit === "k" ? 1e3 : size))} ${unit}`;
  }
  return rough(value);
}

const withSign = (text) => (/[1-9]/.test(text.split("e")[0]) ? text.replace(/^-/, "−") : text.replace(/^-/, ""));

// The format of a column of prices, as in `number.rs`: the same decimals in each row, without loss of digits.
export function priceFormat(prices) {
  let [largest, smallestExponent, fraction, decimals] = [0, 0, 0, 0];
  for (const price of prices) {
    const [mantissa, power] = price.toExponential().split("e");
    const digits = mantissa.replace(/[-.]/g, "").length;
    const exponent = Number(power);
    largest = Math.max(largest, Math.abs(price));
    smallestExponent = Math.min(smallestExponent, exponent);
    fraction = Math.max(fraction, digits - 1);
    decimals = Math.max(decimals, digits - 1 - exponent);
  }
  if (largest > 0 && largest < PLAIN_MIN) return { exponential: Math.min(fraction, DECIMALS_MAX) };
  const ofSmallest = DIGITS_MIN - 1 - smallestExponent;
  return { plain: Math.min(decimals, Math.max(ofSmallest, DECIMALS_MAX)) };
}

export const formatOfCandles = (rows) => priceFormat(rows.flatMap((row) => [row.open, row.high, row.low, row.close]));

export const priceText = (format, price) =>
  "exponential" in format ? withSign(price.toExponential(format.exponential)) : fixed(price, format.plain);

// The format that shows all digits of both.
export function widerFormat(a, b) {
  if (!a) return b;
  if ("exponential" in a !== "exponential" in b) return b;
  return "exponential" in a
    ? { exponential: Math.max(a.exponential, b.exponential) }
    : { plain: Math.max(a.plain, b.plain) };
}

export const two = (value) => String(value).padStart(2, "0");
export const day = (ms) => new Date(ms).toISOString().slice(0, 10);
export const minute = (ms) => new Date(ms).toISOString().slice(0, 16).replace("T", " ");
export const clock = (ms) => new Date(ms).toISOString().slice(11, 16);

// A duration in its largest unit, as in `/health`: 7 s, 3 min, 5 h, 12 days, 6 years.
export function duration(ms) {
  const s = Math.floor(Math.max(0, ms) / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h`;
  if (s < 63_072_000) return `${Math.floor(s / 86_400)} days`;
  return `${Math.floor(s / 31_536_000)} years`;
}
