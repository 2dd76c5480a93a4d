/* claim: one availability word for each claim.

   Model of ringbuf with several producers: Claim (room, then one fetch-and-add), Publish and Abort
   (one store to the word of the claim's first slot), and the consumer's hop from claim to claim.

     claimed                    Ring.cursor of several producers
     released                   Consumer.released
     wordLap, wordN, wordAborted  the three fields of one availability word: lap + 1, slots, aborted
     next, read, boundary, gap  the fields of Consumer; gap is the length of an aborted claim, where it begins

   Proves: a consumer reads every published slot once, in order, with the content that was written
   for its sequence, also after Rewind and ReleaseTo; an aborted slot never; a word left by an earlier
   lap is never believed; what is not released begins where a claim begins, so that whoever starts there
   finds its word; nobody waits for ever.

   Switches, each of which must make it fail:
     TAG=0     the lap in the word is not compared
     ORDER=0   the word is stored before the slots are filled
     ABORT=0   the consumer does not look at the aborted bit
     WHOLE=0   ReleaseTo frees a part of a claim
   Sizes: P producers, batches of 1 or M, K claims in all, CAP slots. */
#ifndef P
#define P 2
#endif
#ifndef M
#define M 2
#endif
#ifndef K
#define K 4
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
#ifndef WHOLE
#define WHOLE 1
#endif
#define CAP 4
#define HEADROOM ((P-1)*M)
#define GIVEN_UP 255

byte claimed, released;
byte left = K;         /* claims still to be made */
byte slot[CAP];        /* sequence + 1, or GIVEN_UP where a producer had begun and then aborted */
byte wordLap[CAP], wordN[CAP];
bit wordAborted[CAP];
bit begins[K*M+1];     /* a claim begins at this sequence */
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
     d_step { from = claimed; claimed = claimed + n; begins[from] = 1 };   /* cursor.Add */
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

/* Consumer.look and follow: over the claims from boundary on that are published or aborted. */
inline look() {
  do
  :: d_step { here = HERE(boundary); n = wordN[PLACE(boundary)]; aborted = wordAborted[PLACE(boundary)] };
     if
     :: here -> d_step { gap[PLACE(boundary)] = (aborted && ABORT -> n : 0); boundary = boundary + n }
     :: else -> break
     fi
  od;
  atomic { n = 0; aborted = 0; here = 0 }
}

/* Consumer.advance and wholeClaims: slots before to are released, claims that end before it are free. */
inline advance(to) {
  d_step {
    assert(to > next && to <= read);
    do
    :: next < to ->
       if :: slot[PLACE(next)] == next + 1 -> delivered++ :: else fi;
       gap[PLACE(next)] = 0;
       next++
    :: else -> break
    od;
    n = released;
    if
    :: next == read -> n = read
    :: else ->
       do
       :: WHOLE && n < next && n + wordN[PLACE(n)] <= next -> n = n + wordN[PLACE(n)]
       :: WHOLE && !(n < next && n + wordN[PLACE(n)] <= next) -> break
       :: !WHOLE -> n = next; break
       od
    fi
  };
  atomic { assert(n == claimed || begins[n]); released = n; n = 0 }
}

proctype consumer() {
  byte next, last, read, boundary, gap[CAP], n, k;
  bit aborted, here;
  do
  :: /* ready */
     if :: read == boundary -> look() :: else fi;
     do
     :: read != boundary && gap[PLACE(read)] != 0 ->
        atomic { k = read; read = read + gap[PLACE(read)] };
        if :: next == k -> advance(read) :: else fi;
        if :: read == boundary -> look() :: else fi
     :: else -> break
     od;
     atomic { k = 0 };
     if
     :: read != boundary ->                              /* take */
        atomic { last = read };
        do
        :: read < boundary && gap[PLACE(read)] == 0 -> assert(slot[PLACE(read)] == read + 1); read++
        :: else -> break
        od;
        if
        :: advance(read)                                 /* Release */
        :: read - last > 1 -> advance(last + 1)          /* ReleaseTo(1) */
        :: read = next                                   /* Rewind */
        fi;
        atomic { last = 0 }
     :: next != read -> advance(read)
     :: else ->
        assert(released == next);
        if
        :: HERE(read) -> skip                            /* await data */
        :: finished == P && read == claimed -> break
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
