// Package skipmark lets the acknowledged position of a reader pass over records that it is not given.
//
//	offsets   … 40   41   42   43   44 …
//	given      yes  yes   –    –    yes
//	acked to 42 ────────▶ settles at 44: nobody will ever acknowledge 42 and 43
//
// Records that have expired, that a filter leaves out or that compaction has removed are done as soon as
// everything before them is. Without that the lag of a group would never come to 0, and a partition that is
// taken away would wait for acknowledgements which cannot come.
package skipmark
