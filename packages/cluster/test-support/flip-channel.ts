/** Whoever says something here has one bit flipped in the memory of each standby that a flippable runtime runs. */
export const flipChannel = 'revenant-test-flip';
