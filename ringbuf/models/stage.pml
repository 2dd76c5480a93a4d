/* stage: parking at a stage of a graph, and no lost wake-up when an upstream is closed.

   Model of a graph of ringbuf consumers: B follows A, C follows A and B. Each consumer parks in the
   lot of an upstream that is behind (in the ring's own lot if it follows nobody). A Release wakes the
   lot of who released. A Close first gives every follower a new list of upstreams, the closed one's own
   in its place, and then wakes the lot of the closed one, for the last time.

     published         the cursor; the ring's lot is lot[RING]
     rel[i]            Consumer.released
     deps[i]           the list of upstreams of consumer i, bit j for consumer j; copied on write, so
                       comparing it is comparing a pointer. 0: the producers
     lot[i], token[i]  the parkingLot of consumer i, bit j for parker j; whether j was woken. That lots
                       themselves lose nothing is what park.pml shows

   Proves: C never passes an open upstream; nobody sleeps beside something to do, whoever is closed when.

   Switches, each of which must make it fail:
     FIX=0     the parker does not look whether its list of upstreams is still the same
     ORDER=0   a Close wakes its lot before it gives the followers their new lists */
#ifndef FIX
#define FIX 1
#endif
#ifndef ORDER
#define ORDER 1
#endif
#ifndef N
#define N 3
#endif
#define A 0
#define B 1
#define C 2
#define RING 3
#define MOVED(at) (at == RING && published > rel[me] || at < RING && rel[at % 3] > rel[me])

byte published;
byte rel[3];
bit closed[3];
byte deps[3];
byte lot[4];
bit token[3];
bit mu;                /* Ring.mu: one Close at a time */

inline wake(which) {
  d_step {
    if :: lot[which] & 1 -> token[A] = 1 :: else fi;
    if :: lot[which] & 2 -> token[B] = 1 :: else fi;
    if :: lot[which] & 4 -> token[C] = 1 :: else fi;
    lot[which] = 0
  }
}

proctype producer() {
  do
  :: published < N -> published++; wake(RING)
  :: else -> break
  od
}

/* One list of upstreams has been read; to is how far they let the consumer go, where an upstream
   that is no further than the consumer itself. */
inline limit() {
  d_step {
    to = N; at = RING;
    if
    :: list == 0 -> to = published
    :: else ->
       if :: (list & 1) && rel[A] < to -> to = rel[A]; at = A :: else fi;
       if :: (list & 2) && rel[B] < to -> to = rel[B]; at = B :: else fi
    fi
  }
}

inline close() {
  atomic { !mu -> mu = 1 };
  if :: !ORDER -> wake(me) :: else fi;
  closed[me] = 1;
  if
  :: me == A -> if :: deps[B] & 1 -> deps[B] = deps[B] & ~1 | deps[A] :: else fi;
                if :: deps[C] & 1 -> deps[C] = deps[C] & ~1 | deps[A] :: else fi
  :: me == B -> if :: deps[C] & 2 -> deps[C] = deps[C] & ~2 | deps[B] :: else fi
  :: else
  fi;
  if :: ORDER -> wake(me) :: else fi;
  mu = 0
}

proctype consumer(byte me) {
  byte list, to, at;
  do
  :: rel[me] == N -> break
  :: me != C -> close(); break
  :: rel[me] < N ->
     list = deps[me];
     limit();
     if
     :: to > rel[me] ->
        assert(me == A || closed[A] || rel[A] > rel[me]);
        assert(me != C || closed[B] || rel[B] > rel[me]);
        rel[me]++;
        wake(me)
     :: else ->
        lot[at] = lot[at] | (1 << me);                   /* enter */
        if
        :: MOVED(at) || FIX && list != deps[me] ->
           d_step { lot[at] = lot[at] & ~(1 << me); token[me] = 0 }   /* leave */
        :: else -> d_step { token[me] -> token[me] = 0 }
        fi
     fi;
     atomic { list = 0; to = 0; at = 0 }
  od
}

init {
  atomic {
    deps[B] = 1; deps[C] = 3;
    run producer();
    run consumer(A); run consumer(B); run consumer(C)
  }
}
