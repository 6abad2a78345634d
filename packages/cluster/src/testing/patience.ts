/** How long tests wait, at the most: a host with twenty times too much to do gets there. What is waited for are events; this ends what never comes. */

/** Of a client, for an answer. */
export const answerMs = 60_000;
