/* claim: one availability word for each claim.

   Model of ringbuf with several producers: Claim (room, then one fetch-and-add), Publish and Abort
   (one store to the word of the claim's first slot), and the consumer's hop from claim to claim.

     claimed                    Ring.cursor of several producers
     released                   Consumer.released
     wordLap, wordN, wordAborted  the three fields of one availability word: lap + 1, slots, aborted
     next, scanned              the fields of Consumer: [next, scanned) is what Next returned last

   Proves: a consumer reads every published slot once, in order, with the content that was written
   for its sequence; an aborted slot never; a word left by an earlier lap is never believed; nobody
   waits for ever.

   Switches, each of which must make it fail:
     TAG=0     the lap in the word is not compared
     ORDER=0   the word is stored before the slots are filled
     ABORT=0   the consumer does not look at the aborted bit
   Sizes: P producers, batches of 1 or M, K claims in all, CAP slots. */
#ifndef P
#define P 2
#endif
#ifndef M
#define M 2
#endif
#ifndef K
#define K 5
#endif
#ifndef TAG
#define TAG 1
#endif
#ifndef ORDER
#define ORDER 1
#endif
#ifndef ABORT
#define ABORT 1
#endif
#define CAP 4
#define HEADROOM ((P-1)*M)
#define GIVEN_UP 255

byte claimed, released;
byte left = K;         /* claims still to be made */
byte slot[CAP];        /* sequence + 1, or GIVEN_UP where a producer had begun and then aborted */
byte wordLap[CAP], wordN[CAP];
bit wordAborted[CAP];
byte finished;         /* producers that made all their claims */
byte published, delivered;

#define PLACE(s) ((s) % CAP)
#define LAP(s)   ((s) / CAP + 1)
#define HERE(s)  (TAG && wordLap[PLACE(s)] == LAP(s) || !TAG && wordLap[PLACE(s)] != 0)

inline store_word() {
  d_step { wordLap[PLACE(from)] = LAP(from); wordN[PLACE(from)] = n; wordAborted[PLACE(from)] = aborted }
}

proctype producer() {
  byte n, from, k;
  bit aborted;
  do
  :: atomic { left > 0 -> left-- };
     if :: n = 1 :: M > 1 -> n = M fi;
     (claimed + n + HEADROOM <= released + CAP);       /* wait for room, before the claim */
     d_step { from = claimed; claimed = claimed + n }; /* cursor.Add */
     if :: aborted = 0; published = published + n :: aborted = 1 fi;
     if :: !ORDER -> store_word() :: else fi;
     k = 0;
     do
     :: k < n ->
        slot[PLACE(from+k)] = (aborted -> GIVEN_UP : from + k + 1);
        k++
     :: else -> break
     od;
     if :: ORDER -> store_word() :: else fi;
     d_step { n = 0; from = 0; k = 0; aborted = 0 }
  :: left == 0 -> break
  od;
  finished++
}

proctype consumer() {
  byte next, scanned, taken, n, k;
  bit aborted, here;
  do
  :: /* refresh */
     do
     :: d_step { here = HERE(scanned); n = wordN[PLACE(scanned)]; aborted = wordAborted[PLACE(scanned)] };
        if
        :: !here -> break
        :: here && (!aborted || !ABORT) -> scanned = scanned + n
        :: here && aborted && ABORT && scanned != next -> break
        :: else -> d_step { scanned = scanned + n; next = scanned; taken = scanned }; released = scanned
        fi
     od;
     atomic { n = 0; aborted = 0; here = 0 };
     if
     :: scanned != next ->
        k = next;
        do
        :: k < scanned -> assert(slot[PLACE(k)] == k + 1); k++
        :: else -> break
        od;
        /* Release all of it, or ReleaseTo the first: the rest is returned again. */
        if :: k = scanned :: scanned - next > 1 -> k = next + 1 fi;
        d_step { assert(k > taken || k == next); delivered = delivered + k - next; next = k; taken = k; k = 0 };
        released = next
     :: else ->
        if
        :: HERE(scanned) -> skip                            /* await data */
        :: finished == P && scanned == claimed -> break
        fi
     fi
  od;
  assert(delivered == published)
}

init {
  byte i;
  atomic {
    do :: i < P -> run producer(); i++ :: else -> break od;
    run consumer()
  }
}
