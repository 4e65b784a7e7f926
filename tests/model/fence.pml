/* fence.pml: Raft split over two actors (election, replicator) and a WAL actor, for Spin.
 *
 * Three members. On each, three actors:
 *   Election(i)   owns term, vote, role.  Never touches the log.       actors/election
 *   Replicator(i) owns the log, the durable mark, the fence, the open term, leadership of the log.
 *                                                                      actors/replicator
 *   Wal(i)        owns what is on disk: (term, vote) and log records.  actors/wal_writer
 * One FIFO channel per ordered pair of actors; an actor takes from any non-empty channel in any order (as
 * from several inproc sockets, or one that serves its senders in turn). A handler is one step: an actor is
 * single-threaded and its sends do not block.
 *
 * The network is a pool of facts that only grows: a message that was ever sent may be received at any
 * later time, any number of times, in any order, or never. That covers loss, delay, duplication, reordering
 * and partitions.
 *
 * A crash stops a whole member at any handler boundary: volatile state and inproc messages go, the disk
 * stays, the member comes back at once. (A long outage is the same as not being scheduled.)
 *
 * How to run it: check.py beside this file. What it shows: README.md; the rules: docs/CONSENSUS.md.
 *
 * Bounds: MAXT terms, MAXL log entries, MAXCRASH crashes in all; two records in flight to a disk.
 *
 * Two granularities from the same handlers:
 *   default    every inproc message is a real channel message (slow, small bounds)
 *   EAGER      FENCE/FENCED/OPEN/LEAD/durable notices are handled at once; only the disk and the
 *              network take time (larger bounds). Sound for the fenced protocol: while such a message
 *              waits, the actors that wait for it only refuse work. The default backs it at smaller bounds.
 *
 * Variants, all off by default; each switches one rule off or changes it:
 *   NOFENCE    naive split: the election actor only asks for the position; the replicator learns of
 *              the new term after the vote is out
 *   EARLYVOTE  vote/candidacy published before (term, vote) is durable
 *   EARLYACK   follower acks on accept, not on durable
 *   EARLYSELF  leader counts its own entry before it is durable
 *   LATEACK    a notice that arrives after a fence still acks the old term
 *   DURPOS     FENCED reports the durable position only
 *   STALELEAD  replicator goes on leading after a fence (takes proposals and counts acks)
 *   COUNTONLY  replicator only goes on counting acks after a fence, until OPEN; no new entries
 *   OPENEARLY  replicator accepts appends of the fenced term before it is durable
 *   RECMAX     restart takes term = max(durable term, term of last durable entry)
 *   IDXONLY    durable notice is matched by index alone
 *   TWOPIPE    LEAD travels on its own pipe (may overtake / be overtaken by FENCE)
 *   LEADNOCHK  LEAD(T) obeyed without checking T == fence
 *   ANYTERM    leader commits by counting entries of older terms
 *   READ       adds one linearizable read; READNOOWN / READNOQ break its two rules
 *   READFWD    with READ: it begins at a follower, whose question is its voice for it; READANYTERM: the
 *              leader of another term answers, too
 *
 * Assertions, by name:
 *   S0  one vote per member and term, and voted terms never go back
 *   S1  one leader per term
 *   S2  a committed entry is never lost or replaced: a leader has what lower terms committed, and what an
 *       old leader commits late is already in the log of every later leader
 *   S3  no ack of a lower term after a vote in a higher one
 *   S4  a committed entry is on a majority of disks
 *   S5  what the replicator calls durable is on its disk, and the same
 *   S6  a linearizable read misses nothing that was committed before it began (READ)
 *   S7  the term on a disk covers every entry on that disk
 *   S8  no append is taken of a term below one that the member has acked in (only with -DS8; with three
 *       members OPENEARLY breaks only this and S7)
 * S0, S3, S4, S5, S7 are early warnings. NOS0, NOA3, NODQ, NOHONEST, NOS7 drop them, so that a run shows
 * the loss itself and not only the broken rule.
 *
 * GOAL=n turns a search into the question whether a state can be reached at all: see the end of
 * Replicator. TRACE makes the trail readable (spin -t).
 */
#define N 3
#ifndef MAXT
#define MAXT 3
#endif
#ifndef MAXL
#define MAXL 2
#endif
#ifndef MAXCRASH
#define MAXCRASH 1
#endif
#define QUORUM 2
#ifdef TRACE
#define SAY(f,a,b,c) printf(f,a,b,c)
#else
#define SAY(f,a,b,c) skip
#endif

mtype = { FENCE, OPEN, LEAD, FENCED, BOUNCE };

/* ---------- inproc pipes ---------- */
#ifndef EAGER
chan e2r[N] = [3] of { mtype, byte };          /* FENCE(T) OPEN(T) LEAD(T)      */
chan r2e[N] = [2] of { mtype, byte, byte };    /* FENCED(T,pos) BOUNCE(T)       */
chan e2w[N] = [1] of { byte, byte };           /* HARDSTATE(T,vote)             */
chan w2e[N] = [1] of { byte };                 /* HS_DURABLE(T)                 */
chan w2r[N] = [2] of { byte, byte };           /* LOG_DURABLE(index,term)       */
#endif
#ifdef TWOPIPE
chan e2r2[N] = [1] of { byte };                /* LEAD(T) on a pipe of its own  */
#endif
chan r2w[N] = [2] of { byte, byte };           /* APPEND(index,term), truncates */

/* ---------- election actor ---------- */
#define IDLE 0
#define WF   1      /* FENCE sent            */
#define WD   2      /* HARDSTATE sent        */
byte cur[N], vot[N];           /* vote: candidate id + 1, 0 none                  */
byte role[N];                  /* 0 follower, 1 candidate, 2 leader               */
byte est[N], eT[N], eK[N];     /* eK: 0 adopt, else candidate id + 1 we deal with */
byte eV[N], eP[N];

/* ---------- replicator actor ---------- */
byte fence[N], open[N], lead[N];
byte llg[N*(MAXL+1)];          /* log: term at each index, 1..ln                  */
byte ln[N], dur[N], match[N];
byte q0[N], q1[N], nq[N];      /* records in flight, oldest first: index, or 0 if superseded */
#define LG(i,k) llg[(i)*(MAXL+1)+(k)]

/* ---------- disk ---------- */
byte dT[N], dV[N], dlen[N], dlg[N*(MAXL+1)];
#define DL(i,k) dlg[(i)*(MAXL+1)+(k)]

/* ---------- network pool ---------- */
byte vreq[(MAXT+1)*N];         /* RequestVote(T) by c: position + 1               */
byte vgr[(MAXT+1)*N];          /* vote of v in T: candidate id + 1                */
byte pl[(MAXT+1)*(MAXL+1)];    /* the log the leader of T sends from              */
byte plen[MAXT+1], lid[MAXT+1];
byte ack[(MAXT+1)*N];          /* highest match index acked by n in T             */
#define VR(t,c) vreq[(t)*N+(c)]
#define VG(t,v) vgr[(t)*N+(v)]
#define PL(t,k) pl[(t)*(MAXL+1)+(k)]
#define ACK(t,n) ack[(t)*N+(n)]

/* ---------- ghosts ---------- */
byte gc[MAXL+1];               /* committed term at index, 0 if not committed     */
byte gterm[MAXL+1];            /* lowest term whose leader committed the index    */
byte mv[N], mvf[N];            /* highest term in which the member has cast a vote, and for whom */
byte ncrash; bit started;
#ifdef S8
byte ma[N];                    /* highest term in which the member acked an entry of that term */
#endif
#ifdef READ
byte cmt[N];                   /* replicator's commit index (volatile)            */
byte lcm[MAXT+1];              /* commit index the leader of T has advertised     */
byte rdL, rdT, rdIdx, rdGoal, rdAck; bit rdDone;
#endif
#ifdef GOAL
bit ntrunc;
#endif

#define POS(i) ((ln[i] == 0 -> 0 : LG(i,ln[i])*(MAXL+1)+ln[i]))
#define DPOS(i) ((dur[i] == 0 -> 0 : LG(i,dur[i])*(MAXL+1)+dur[i]))
#define NVOTES(t,c) ((VG(t,0)==(c)+1)+(VG(t,1)==(c)+1)+(VG(t,2)==(c)+1))

#ifdef EAGER
#define ROOM(ch) 1
#else
#define ROOM(ch) nfull(ch)
#endif

/* ================= shared pieces ================= */
#define ONDISK(x) ((dlen[0]>=x && DL(0,x)==gc[x]) + (dlen[1]>=x && DL(1,x)==gc[x]) + (dlen[2]>=x && DL(2,x)==gc[x]))
inline quorumdisk() {          /* every committed entry is on a majority of disks */
#ifndef NODQ
  x = 1;
  do
  :: x<=MAXL ->
     assert(gc[x]==0 || ONDISK(x) >= QUORUM); x++      /* S4 */
  :: else -> break
  od;
  x = 0
#else
  skip
#endif
}

/* ================= replicator handlers ================= */
inline toWal(i,k) {            /* log[k] was just written in memory; k is the new last index */
  if
  :: nq[i]==0 -> q0[i] = k
  :: nq[i]==1 -> q1[i] = k
  fi;
  nq[i]++;
  r2w[i]!k,LG(i,k)
}
inline truncate(i,k) {         /* drop k.. from memory, supersede in-flight records at k.. */
  x = k;
  do
  :: x<=ln[i] -> LG(i,x) = 0; x++
  :: else -> break
  od;
  ln[i] = k-1;
  if :: dur[i] > k-1 -> dur[i] = k-1 :: else fi;
#ifndef IDXONLY
  if :: nq[i]>0 && q0[i]>=k -> q0[i] = 0 :: else fi;
  if :: nq[i]>1 && q1[i]>=k -> q1[i] = 0 :: else fi;
#endif
  x = 0
}
inline doack(i) {              /* tell the leader of the open term how far we are durable */
#ifdef LATEACK
#define MAYACK(i) 1
#else
#define MAYACK(i) (open[i]==fence[i])
#endif
  if
  :: open[i] != 0 && MAYACK(i) && lead[i]==0 && lid[open[i]] != i+1 && match[i] > 0 ->
     x = (match[i] < dur[i] -> match[i] : dur[i]);
#ifdef EARLYACK
     x = match[i];
#endif
     if
     :: x > ACK(open[i],i) ->
        SAY("R%d: ACKS term %d up to index %d\n",i,open[i],x);
#ifndef NOA3
        assert(mv[i] <= open[i]);                      /* S3: no ack in a lower term after a vote in a higher one */
#endif
#ifdef S8
        if :: LG(i,x)==open[i] && open[i]>ma[i] -> ma[i] = open[i] :: else fi;
#endif
        /* only kept while somebody can still count it */
        if
        :: lid[open[i]]!=0 && lead[lid[open[i]]-1]==open[i] -> ACK(open[i],i) = x
        :: else
        fi
     :: else
     fi;
     x = 0
  :: else
  fi
}
inline openlog(i) {            /* leader publishes its log for its term */
  x = 1;
  do
  :: x<=ln[i] -> PL(lead[i],x) = LG(i,x); x++
  :: else -> break
  od;
  plen[lead[i]] = ln[i]; x = 0
}
inline droplead(i) {           /* acks of a term nobody leads any more are never counted */
  if
  :: lead[i]!=0 -> ACK(lead[i],0) = 0; ACK(lead[i],1) = 0; ACK(lead[i],2) = 0; lead[i] = 0
  :: else
  fi
}
inline h_fence(i,tt) {         /* FENCE(T) from the election actor; answer in p */
#ifdef NOFENCE
  skip;
#else
  if
  :: tt>fence[i] -> fence[i] = tt;
#ifndef STALELEAD
#ifndef COUNTONLY
     droplead(i)
#endif
#endif
  :: else
  fi;
#endif
#ifdef DURPOS
  p = DPOS(i);
#else
  p = POS(i);
#endif
  SAY("R%d: FENCE %d handled, reports position %d\n",i,tt,p)
}
inline h_open(i,tt) {          /* OPEN(T): T is durable, appends of T may come in */
#ifdef NOFENCE
  if :: tt>fence[i] -> fence[i] = tt; droplead(i) :: else fi;
#endif
#ifdef COUNTONLY
  if :: tt>lead[i] -> droplead(i) :: else fi;
#endif
  if :: tt==fence[i] && open[i]<tt -> open[i] = tt; match[i] = 0 :: else fi
}
inline takelead(i,tt) {        /* LEAD(T) */
  SAY("R%d: LEADS term %d, log length %d\n",i,tt,ln[i]);
  assert(lid[tt]==0);                                  /* S1: one leader per term */
  lid[tt] = i+1; lead[i] = tt; match[i] = 0;
  VR(tt,0) = 0; VR(tt,1) = 0; VR(tt,2) = 0; VG(tt,0) = 0; VG(tt,1) = 0; VG(tt,2) = 0;
  x = 1;
  do
  :: x<=MAXL -> assert(gc[x]==0 || gterm[x]>=tt || LG(i,x)==gc[x]); x++     /* S2: the leader has it */
  :: else -> break
  od;
  x = 0;
  if                                                   /* the no-op of the new term */
  :: ln[i]<MAXL && nq[i]<2 -> ln[i]++; LG(i,ln[i]) = tt; toWal(i,ln[i])
  :: else
  fi;
  openlog(i)
}
inline h_lead(i,tt) {
#ifdef LEADNOCHK
  takelead(i,tt)
#else
  if
  :: tt==fence[i] -> takelead(i,tt)
  :: else
  fi
#endif
}
inline h_notice(i,kk,tt) {     /* WAL: one more record is durable */
#ifdef IDXONLY
  if :: kk<=ln[i] && kk>dur[i] -> dur[i] = kk :: else fi;
#else
  if :: q0[i]>dur[i] -> dur[i] = q0[i] :: else fi;
#endif
  q0[i] = q1[i]; q1[i] = 0; nq[i]--;
#ifndef NOHONEST
  x = 1;
  do
  :: x<=dur[i] -> assert(dlen[i]>=x && DL(i,x)==LG(i,x)); x++               /* S5: durable is on disk, as in memory */
  :: else -> break
  od;
  x = 0;
#endif
  doack(i)
}
inline takeentry(i,tt,k) {     /* AppendEntries of the leader of tt, one entry at k */
#ifdef OPENEARLY
  if :: open[i]!=tt -> open[i] = tt; match[i] = 0 :: else fi;
#endif
  SAY("R%d: takes append of term %d index %d\n",i,tt,k);
#ifdef S8
  assert(tt >= ma[i]);                                 /* S8: no append of a term below one it has acked in */
#endif
  if
  :: ln[i]>=k && LG(i,k)==PL(tt,k)     /* already there, durable or not */
  :: else ->
#ifdef GOAL
     if :: ln[i]>=k -> ntrunc = 1 :: else fi;
#endif
     truncate(i,k); ln[i] = k; LG(i,k) = PL(tt,k); toWal(i,k)
  fi;
  if :: match[i]<k -> match[i] = k :: else fi;
#ifdef READ
  x = (lcm[tt]<match[i] -> lcm[tt] : match[i]);
  if :: x>cmt[i] -> cmt[i] = x :: else fi;
  x = 0;
#endif
  doack(i)
}
inline docommit(i,k) {
  SAY("R%d: COMMITS index %d as leader of term %d\n",i,k,lead[i]);
  x = 1;
  do
  :: x<=k ->
     assert(gc[x]==0 || gc[x]==LG(i,x));               /* S2: never replaced */
     if :: gc[x]==0 || gterm[x]>lead[i] -> gterm[x] = lead[i] :: else fi;
     gc[x] = LG(i,x);
     y = lead[i]+1;
     do
     :: y<=MAXT -> assert(lid[y]==0 || (plen[y]>=x && PL(y,x)==gc[x])); y++ /* S2: later leaders have it */
     :: else -> break
     od;
     x++
  :: else -> break
  od;
  x = 0; y = 0;
#ifdef READ
  cmt[i] = k; lcm[lead[i]] = k;
#endif
  quorumdisk()
}

/* ================= election handlers ================= */
inline publish(i) {            /* what the outside world may now see */
  if
  :: eK[i] == i+1 -> VR(eT[i],i) = eP[i]+1
  :: else
  fi;
  if
  :: eV[i] != 0 ->
#ifndef NOS0
     assert(eT[i] > mv[i] || (eT[i] == mv[i] && mvf[i] == eV[i]));   /* S0: one vote per term, terms never go back */
#endif
     if :: eT[i]>=mv[i] -> mv[i] = eT[i]; mvf[i] = eV[i] :: else fi;
     /* votes and candidacies of a term that has its leader can change nothing but terms */
     if
     :: lid[eT[i]]==0 -> VG(eT[i],i) = eV[i]
     :: else -> VR(eT[i],i) = 0
     fi
  :: else
  fi
}
inline h_fenced(i,pp) {        /* fenced: decide, then persist */
  eV[i] = 0;
  if
  :: eT[i] == cur[i] -> eV[i] = vot[i]
  :: else
  fi;
  if
  :: eK[i] == i+1 -> eV[i] = i+1; eP[i] = pp
  :: eK[i] != 0 && eK[i] != i+1 ->
       if
       :: eV[i] == 0 && VR(eT[i],eK[i]-1) >= pp+1 -> eV[i] = eK[i]
       :: else
       fi
  :: eK[i] == 0
  fi;
#ifdef EARLYVOTE
  publish(i);
#endif
  SAY("E%d: FENCED, will persist term %d vote %d\n",i,eT[i],eV[i]);
  est[i] = WD
}
inline startfence(i,tt,k) {
  SAY("E%d: starts FENCE(term %d), deals with candidate+1 = %d\n",i,tt,k);
  est[i] = WF; eT[i] = tt; eK[i] = k;
#ifdef EAGER
  h_fence(i,tt);
  h_fenced(i,p);
  p = 0
#else
  e2r[i]!FENCE,tt
#endif
}
inline h_durable(i) {          /* (term, vote) durable: now it counts */
  if
  :: eT[i] > cur[i] -> role[i] = (eK[i]==i+1 -> 1 : 0)
  :: else
  fi;
  cur[i] = eT[i]; vot[i] = eV[i];
  SAY("E%d: term %d vote %d durable; reply or candidacy goes out; OPEN\n",i,cur[i],vot[i]);
#ifndef EARLYVOTE
  publish(i);
#endif
#ifdef EAGER
  h_open(i,cur[i]);
#else
  e2r[i]!OPEN,cur[i];
#endif
  est[i] = IDLE; eT[i] = 0; eK[i] = 0; eV[i] = 0; eP[i] = 0
}

/* ================= election ================= */
#define VOTE(t,c) \
  :: d_step { est[i]==IDLE && c!=i && VR(t,c)!=0 && ROOM(e2r[i]) \
       && (t>cur[i] || (t==cur[i] && vot[i]==0)) -> startfence(i,t,c+1) }
#ifdef EAGER
#ifdef TWOPIPE
#define LEADROOM empty(e2r2[i])
#else
#define LEADROOM 1
#endif
#else
#define LEADROOM nfull(e2r[i])
#endif

proctype Election(byte i) {
  byte t, p, x;
  do
  /* election timeout (check-quorum loss and TimeoutNow take the same path) */
  :: d_step { est[i]==IDLE && cur[i]<MAXT && (started || i==0) && ROOM(e2r[i]) ->
       started = 1; startfence(i,cur[i]+1,i+1) }
  VOTE(1,0) VOTE(1,1) VOTE(1,2)
  VOTE(2,0) VOTE(2,1) VOTE(2,2)
#if MAXT>=3
  VOTE(3,0) VOTE(3,1) VOTE(3,2)
#endif
#if MAXT>=4
  VOTE(4,0) VOTE(4,1) VOTE(4,2)
#endif
#ifndef EAGER
  /* the replicator saw a term it may not act in */
  :: d_step { est[i]!=WD && r2e[i]?[BOUNCE,t,p] && nfull(e2r[i]) ->
       r2e[i]?BOUNCE,t,p;
       if
       :: est[i]==IDLE && t>cur[i] -> startfence(i,t,0)
       :: else          /* dropped: known term, or busy; the peer sends again */
       fi; t = 0; p = 0 }
  :: d_step { est[i]==WF && r2e[i]?[FENCED,t,p] ->
       r2e[i]?FENCED,t,p;
       assert(t == eT[i]);
       h_fenced(i,p);
       e2w[i]!eT[i],eV[i]; t = 0; p = 0 }
  :: d_step { est[i]==WD && nempty(w2e[i]) && nfull(e2r[i]) ->
       w2e[i]?t; h_durable(i); t = 0 }
#endif
  /* majority of votes */
  :: d_step { est[i]==IDLE && role[i]==1 && NVOTES(cur[i],i)>=QUORUM && LEADROOM && nq[i]<2 ->
       role[i] = 2; SAY("E%d: majority in term %d, %d votes\n",i,cur[i],NVOTES(cur[i],i));
#ifdef TWOPIPE
       e2r2[i]!cur[i]
#else
#ifdef EAGER
       h_lead(i,cur[i])
#else
       e2r[i]!LEAD,cur[i]
#endif
#endif
     }
  od
}

/* ================= replicator ================= */
#define SELF(i,k) (dur[i]>=(k))
#ifdef EARLYSELF
#undef SELF
#define SELF(i,k) (ln[i]>=(k))
#endif
#ifdef ANYTERM
#define OWN(i,k) 1
#else
#define OWN(i,k) (LG(i,k)==lead[i])
#endif
#define NACK(i,k) (SELF(i,k) + (i!=0 && ACK(lead[i],0)>=(k)) + (i!=1 && ACK(lead[i],1)>=(k)) \
                   + (i!=2 && ACK(lead[i],2)>=(k)))
#ifdef READ
#define NEWCMT(i,k) (cmt[i]<(k))
#else
#define NEWCMT(i,k) (gc[k]!=LG(i,k) || gterm[k]>lead[i])
#endif
#ifdef OPENEARLY
#define MAYTAKE(i,t) (fence[i]==(t))
#else
#define MAYTAKE(i,t) (open[i]==(t) && fence[i]==(t))
#endif
#ifdef READ
#define HELPS(t,k) (match[i]<k || (lcm[t]>cmt[i] && match[i]>cmt[i]))
#else
#define HELPS(t,k) (match[i]<k)
#endif
#define APPENDRPC(t,k) \
  :: d_step { plen[t]>=k && lid[t]!=i+1 && lead[i]==0 && MAYTAKE(i,t) && nq[i]<2 \
       && (k==1 || (ln[i]>=k-1 && LG(i,k-1)==PL(t,k-1))) \
       && (ln[i]<k || LG(i,k)!=PL(t,k) || HELPS(t,k)) -> takeentry(i,t,k) }
#ifdef EAGER
#define BOUNCERPC(t) \
  :: d_step { lid[t]!=0 && t>fence[i] && est[i]==IDLE -> startfence(i,t,0) }
#else
#define BOUNCERPC(t) \
  :: d_step { lid[t]!=0 && t>fence[i] && empty(r2e[i]) -> r2e[i]!BOUNCE,t,0 }
#endif
#ifdef READNOOWN
#define RDOWN(i) 1
#else
#define RDOWN(i) (cmt[i]>0 && LG(i,cmt[i])==lead[i])
#endif
#ifdef READNOQ
#define RDQ 1
#else
#define RDQ (rdAck!=0)
#endif
#ifdef READANYTERM
#define RDTERM(i) (lead[i]!=0)
#else
#define RDTERM(i) (lead[i]==rdT)
#endif
#ifdef READ
inline rdgoal() {              /* what the read must not miss: all that is committed when it begins */
  x = 1;
  do
  :: x<=MAXL && gc[x]!=0 -> rdGoal = x; x++
  :: else -> break
  od;
  x = 0
}
#endif
#ifdef COUNTONLY
#define MAYPROPOSE(i) (fence[i]==lead[i])
#else
#define MAYPROPOSE(i) 1
#endif
#define COMMIT(k) \
  :: d_step { lead[i]!=0 && ln[i]>=k && OWN(i,k) && NEWCMT(i,k) && NACK(i,k)>=QUORUM -> docommit(i,k) }

proctype Replicator(byte i) {
  byte t, p, x, y;
  do
#ifndef EAGER
  :: d_step { e2r[i]?[FENCE,t] && nfull(r2e[i]) ->
       e2r[i]?FENCE,t; h_fence(i,t); r2e[i]!FENCED,t,p; t = 0; p = 0 }
  :: d_step { e2r[i]?[OPEN,t] -> e2r[i]?OPEN,t; h_open(i,t); t = 0 }
#ifndef TWOPIPE
  :: d_step { e2r[i]?[LEAD,t] && nq[i]<2 -> e2r[i]?LEAD,t; h_lead(i,t); t = 0 }
#endif
  :: d_step { nempty(w2r[i]) -> w2r[i]?p,t; h_notice(i,p,t); t = 0; p = 0 }
#endif
#ifdef TWOPIPE
  :: d_step { nempty(e2r2[i]) && nq[i]<2 -> e2r2[i]?t; h_lead(i,t); t = 0 }
#endif
  /* client proposal */
  :: d_step { lead[i]!=0 && ln[i]<MAXL && nq[i]<2 && MAYPROPOSE(i) ->
       ln[i]++; LG(i,ln[i]) = lead[i]; toWal(i,ln[i]); openlog(i);
       SAY("R%d: leader of term %d appends index %d\n",i,lead[i],ln[i]) }
  APPENDRPC(1,1) APPENDRPC(2,1)
#if MAXT>=3
  APPENDRPC(3,1)
#endif
#if MAXT>=4
  APPENDRPC(4,1)
#endif
#if MAXL>=2
  APPENDRPC(1,2) APPENDRPC(2,2)
#if MAXT>=3
  APPENDRPC(3,2)
#endif
#if MAXT>=4
  APPENDRPC(4,2)
#endif
#endif
#if MAXL>=3
  APPENDRPC(1,3) APPENDRPC(2,3)
#if MAXT>=3
  APPENDRPC(3,3)
#endif
#if MAXT>=4
  APPENDRPC(4,3)
#endif
#endif
  BOUNCERPC(1) BOUNCERPC(2)
#if MAXT>=3
  BOUNCERPC(3)
#endif
#if MAXT>=4
  BOUNCERPC(4)
#endif
  COMMIT(1)
#if MAXL>=2
  COMMIT(2)
#endif
#if MAXL>=3
  COMMIT(3)
#endif
#ifdef READFWD
  /* one linearizable read on a follower: when its question arrives, however late, the leader and it are
   * two who had not left the term when the read began */
  :: d_step { rdL==0 && lead[i]==0 && open[i]!=0 && open[i]==fence[i] && lid[open[i]]!=0 && lid[open[i]]!=i+1 ->
       rdL = i+1; rdT = open[i];
       rdgoal();
       SAY("R%d: asks the leader of term %d, truth is %d\n",i,rdT,rdGoal) }
  :: d_step { rdL!=0 && rdL!=i+1 && !rdDone && RDTERM(i) && RDOWN(i) ->
       rdDone = 1; rdIdx = cmt[i]; assert(rdIdx>=rdGoal) } /* S6: no stale read */
#else
#ifdef READ
  /* one linearizable read on a leader */
  :: d_step { rdL==0 && lead[i]!=0 && RDOWN(i) ->
       rdL = i+1; rdT = lead[i]; rdIdx = cmt[i];
       rdgoal();
       SAY("R%d: READ starts at commit index %d, truth is %d\n",i,rdIdx,rdGoal) }
  :: d_step { rdL!=0 && !rdDone && rdL!=i+1 && open[i]==rdT && fence[i]==rdT && rdAck==0 -> rdAck = 1 }
  :: d_step { rdL==i+1 && !rdDone && lead[i]==rdT && RDQ -> rdDone = 1; assert(rdIdx>=rdGoal) } /* S6: no stale read */
#endif
#endif
#ifdef GOAL
#if GOAL==1   /* an entry of term 1 and one of term 2, committed by different leaders */
  :: d_step { gterm[1]==1 && gterm[2]==2 && lid[1]!=lid[2] -> assert(0) /* GOAL */ }
#elif GOAL==2 /* three different leaders, two commits, a crash and a truncation happened */
  :: d_step { gterm[1]!=0 && gterm[2]==3 && ncrash>0 && ntrunc && lid[1]!=0 && lid[2]!=0 &&
       lid[1]!=lid[2] && lid[2]!=lid[3] && lid[1]!=lid[3] -> assert(0) /* GOAL */ }
#elif GOAL==3 /* everybody has everything durable and the whole log is committed */
  :: d_step { gc[MAXL]!=0 && dlen[0]==MAXL && dlen[1]==MAXL && dlen[2]==MAXL -> assert(0) /* GOAL */ }
#elif GOAL==4 /* a deposed leader leads again in a later term and commits */
  :: d_step { lid[1]!=0 && lid[1]==lid[3] && lid[2]!=0 && lid[2]!=lid[1] && gterm[MAXL]==3 -> assert(0) /* GOAL */ }
#elif GOAL==5 /* a linearizable read completed on a leader of term 2 that sees a commit of term 1 */
  :: d_step { rdDone && rdT==2 && rdGoal>=1 && gc[1]==1 -> assert(0) /* GOAL */ }
#elif GOAL==6 /* a truncation overtook a record in flight: a superseded record waits at the head */
  :: d_step { nq[i]==2 && q0[i]==0 && q1[i]!=0 -> assert(0) /* GOAL */ }
#endif
#endif
  od
}

/* ================= WAL ================= */
proctype Wal(byte i) {
  byte t, p, x, y;
  do
#ifdef EAGER
  :: d_step { est[i]==WD -> dT[i] = eT[i]; dV[i] = eV[i]; h_durable(i) }
  :: d_step { nempty(r2w[i]) ->
#else
  :: d_step { nempty(e2w[i]) && nfull(w2e[i]) ->
       e2w[i]?t,p; dT[i] = t; dV[i] = p; w2e[i]!t; t = 0; p = 0 }
  :: d_step { nempty(r2w[i]) && nfull(w2r[i]) ->
#endif
       r2w[i]?p,t;
       x = p;
       do                       /* a record at index p replaces everything from p on */
       :: x<=dlen[i] -> DL(i,x) = 0; x++
       :: else -> break
       od;
       DL(i,p) = t; dlen[i] = p;
       SAY("W%d: log index %d term %d on disk\n",i,p,t);
       quorumdisk();
#ifndef NOS7
       assert(t <= dT[i]);      /* S7: the disk term covers every entry on disk */
#endif
#ifdef EAGER
       h_notice(i,p,t);
#else
       w2r[i]!p,t;
#endif
       t = 0; p = 0; x = 0 }
  od
}

/* ================= crashes ================= */
inline crash(i) {
  ncrash++; SAY("CRASH of member %d, restarts with term %d, disk log length %d\n",i,dT[i],dlen[i]);
#ifndef EAGER
  do :: nempty(e2r[i]) -> e2r[i]?_,_ :: empty(e2r[i]) -> break od;
  do :: nempty(r2e[i]) -> r2e[i]?_,_,_ :: empty(r2e[i]) -> break od;
  do :: nempty(e2w[i]) -> e2w[i]?_,_ :: empty(e2w[i]) -> break od;
  do :: nempty(w2e[i]) -> w2e[i]?_ :: empty(w2e[i]) -> break od;
  do :: nempty(w2r[i]) -> w2r[i]?_,_ :: empty(w2r[i]) -> break od;
#endif
#ifdef TWOPIPE
  do :: nempty(e2r2[i]) -> e2r2[i]?_ :: empty(e2r2[i]) -> break od;
#endif
  do :: nempty(r2w[i]) -> r2w[i]?_,_ :: empty(r2w[i]) -> break od;
  cur[i] = dT[i]; vot[i] = dV[i];
#ifdef RECMAX
  if :: dlen[i]>0 && DL(i,dlen[i])>cur[i] -> cur[i] = DL(i,dlen[i]); vot[i] = 0 :: else fi;
#endif
  role[i] = 0; est[i] = IDLE; eT[i] = 0; eK[i] = 0; eV[i] = 0; eP[i] = 0;
  fence[i] = cur[i]; open[i] = cur[i]; droplead(i); match[i] = 0;
  x = 1;
  do
  :: x<=MAXL -> LG(i,x) = DL(i,x); x++
  :: else -> break
  od;
  x = 0;
  ln[i] = dlen[i]; dur[i] = dlen[i]; q0[i] = 0; q1[i] = 0; nq[i] = 0;
#ifdef READ
  cmt[i] = 0;
#endif
}
proctype Crash() {
  byte x;
  do
  :: d_step { ncrash<MAXCRASH && started -> crash(0) }
  :: d_step { ncrash<MAXCRASH && started -> crash(1) }
  :: d_step { ncrash<MAXCRASH && started -> crash(2) }
  od
}

init {
  atomic {
    run Election(0); run Election(1); run Election(2);
    run Replicator(0); run Replicator(1); run Replicator(2);
    run Wal(0); run Wal(1); run Wal(2);
#if MAXCRASH>0
    run Crash()
#endif
  }
}
