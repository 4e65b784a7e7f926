/* conf.pml: membership changes, one server at a time, for Spin. Coarse steps: one Raft core per member.
 *
 * Question: does a configuration take effect when its entry is appended or when it is applied, and which
 * side rules does each choice need? Quoral takes the first (docs/CONSENSUS.md).
 *   default     append mode: the last configuration entry in a member's log counts
 *   APPLY       apply mode: the last configuration entry it has applied counts; no campaign while a
 *               configuration entry known as committed is not applied
 *   NOOWN       a leader may propose a change before it has committed an entry of its own term
 *   NOWAIT      a leader may propose a change while another one is uncommitted (append mode)
 *   LOSECOMMIT  APPLY only: the commit index known to a member is lost in a crash
 *   SELF        a leader may remove itself: it leads until that is committed, without counting itself; and who
 *               is not in its own newest configuration may stand, without counting itself
 *   COUNTSELF   ... and counts itself when it commits
 *   VOTESELF    ... and counts itself when it stands
 *   ALONE       from one voter to two, the one commits that change by having it on its disk, leading or not. What a
 *               leader appends is not on its disk at once; a crash loses the rest, and what was known as committed
 *   ALONEEARLY  ... before it is on the disk
 *   ALONEBEHIND ... and what it has on its disk behind that change, too: harmless
 *   ALONEMORE   ... whoever leads, however many voters there were before
 * Bounds: MAXT terms, MAXL entries, MAXCC changes, MAXCRASH crashes (APPLY and ALONE only: append mode alone has
 * nothing that a crash could lose in this model); START is the mask of the first configuration. A change needs a
 * committed own-term entry before it, so MAXL must be 3 for two changes by different leaders to compete.
 *   N4, N3      member 4, members 3 and 4 take no part
 *   SYM         the leader of term 1, if any, is member 0 (symmetry of the first configuration)
 *   PRUNE       guided search for one shape of history (member 0 leads term 1, member 2 term 2, 3 and 4
 *               are added, only member 2 crashes); it proves nothing when it finds nothing
 *
 * Assertions: S2, a committed entry is never lost or replaced (as in fence.pml). GOAL=1 asks whether two
 * changes made by leaders of different terms, the second one committed, are reached at all; GOAL=2 whether
 * somebody is elected by a configuration without itself; GOAL=3 whether the member that was added by the other one
 * alone, which crashed then, leads and commits.
 * How to run it: check.py beside this file. What it shows: README.md.
 */
#define N 5
#ifndef MAXT
#define MAXT 3
#endif
#ifndef MAXL
#define MAXL 3
#endif
#ifndef MAXCC
#define MAXCC 2
#endif
#ifndef START
#define START 15
#endif
#ifndef MAXCRASH
#define MAXCRASH 0
#endif
#ifdef TRACE
#define SAY(f,a,b,c) printf(f,a,b,c)
#else
#define SAY(f,a,b,c) skip
#endif
#define W (MAXL+1)
byte term[N], ln[N], cm[N], ap[N], lt[N*W], lc[N*W]; bit ldr[N];
byte ackd[N];            /* per follower: how far it has acked the leader it last acked ... */
byte ackt[N];            /* ... and that leader's term */
byte gt[W], gtm[W]; byte gotldr; byte ncc, ncr;
byte ledlog[(MAXT+1)*W], ledlen[MAXT+1];
#define LT(i,k) lt[(i)*W+(k)]
#define LC(i,k) lc[(i)*W+(k)]
#define POS(i) (ln[i]==0 -> 0 : LT(i,ln[i])*W+ln[i])
#define CNT(m) (((m)&1)+(((m)>>1)&1)+(((m)>>2)&1)+(((m)>>3)&1)+(((m)>>4)&1))

inline conf(i,out) {     /* configuration member i goes by */
  out = START; z = 1;
  do
#ifdef APPLY
  :: z<=ap[i] -> if :: LC(i,z)!=0 -> out = LC(i,z) :: else fi; z++
#else
  :: z<=ln[i] -> if :: LC(i,z)!=0 -> out = LC(i,z) :: else fi; z++
#endif
  :: else -> break
  od; z = 0
}
inline pend(i,lo,hi,out) { /* is there a configuration entry in lo+1..hi */
  out = 0; z = lo+1;
  do :: z<=hi -> if :: LC(i,z)!=0 -> out = 1 :: else fi; z++ :: else -> break od; z = 0
}
/* Who takes no part is left out of the generated program: it is half as long. */
#ifdef N3
#define V5(F,i) F(i,0) F(i,1) F(i,2)
#define I5(F) F(0) F(1) F(2)
#elif defined(N4)
#define V5(F,i) F(i,0) F(i,1) F(i,2) F(i,3)
#define I5(F) F(0) F(1) F(2) F(3)
#else
#define V5(F,i) F(i,0) F(i,1) F(i,2) F(i,3) F(i,4)
#define I5(F) F(0) F(1) F(2) F(3) F(4)
#endif
#if MAXL>=4
#define K3(F,i,v) F(i,v,1) F(i,v,2) F(i,v,3) F(i,v,4)
#define KC(F,i) F(i,1) F(i,2) F(i,3) F(i,4)
#elif MAXL==3
#define K3(F,i,v) F(i,v,1) F(i,v,2) F(i,v,3)
#define KC(F,i) F(i,1) F(i,2) F(i,3)
#elif MAXL==2
#define K3(F,i,v) F(i,v,1) F(i,v,2)
#define KC(F,i) F(i,1) F(i,2)
#else
#define K3(F,i,v) F(i,v,1)
#define KC(F,i) F(i,1)
#endif
#ifdef PRUNE
#define MAYLEAD(i) ((term[i]==0 && (i)==0) || (term[i]==1 && (i)==2))
#define MAYFLIP(v) ((v)>=3)
#define NBUMP 0        /* at most that many moves to a term without a vote */
#define MAYSEND(i,w,k) ((w)!=1 && (k)==ln[i])
#define MAYAPPLY(i) ((i)==0 || (i)==2)
#define MAYCRASH(i) ((i)==2)
#define MAYNOOP(i) (ln[i]==2)
#else
#ifdef SYM
#define MAYLEAD(i) (term[i]!=0 || (i)==0)
#else
#define MAYLEAD(i) 1
#endif
#define MAYFLIP(v) 1
#define MAYSEND(i,w,k) 1
#define MAYAPPLY(i) 1
#define MAYCRASH(i) 1
#define MAYNOOP(i) 1
#define NBUMP 255
#endif
byte nb;

#ifdef ALONE
byte du[N];              /* how far its log is on its disk */
#define DURABLE(i,k) (du[i]>=(k))
#define KEEP(w,k) if :: du[w]>=(k) -> du[w] = (k)-1 :: else fi
#define HAVE(w,k) if :: du[w]<(k) -> du[w] = (k) :: else fi
#else
#define DURABLE(i,k) 1
#define KEEP(w,k) skip
#define HAVE(w,k) skip
#endif
#ifdef ALONEMORE
#define FEW(p) 1
#else
#define FEW(p) (CNT(p)==1)
#endif
#if GOAL==3
bit alone;               /* somebody has committed its change alone */
#define NOTEALONE alone = 1
#else
#define NOTEALONE skip
#endif

#ifdef SELF
#define MAYSELF 1
#define MAYSTAND(i,c) 1
#else
#define MAYSELF 0
#define MAYSTAND(i,c) ((c)&(1<<(i)))
#endif
#ifdef COUNTSELF
#define COUNTED(i,c) ((c) | (1<<(i)))
#else
#define COUNTED(i,c) (c)
#endif
#ifdef VOTESELF
#define VOTERS(i,c) ((c) | (1<<(i)))
#else
#define VOTERS(i,c) (c)
#endif
/* campaign and win with the votes of the members in q (bit i is i's own) */
#define CAMPAIGN(i,qq) \
  :: d_step { term[i]<MAXT && MAYLEAD(i) && ((qq)&(1<<(i))) && !(gotldr & (1<<(term[i]+1))) -> campaign(i,qq) }
#define CAMP3(i) \
  CAMPAIGN(i,1) CAMPAIGN(i,2) CAMPAIGN(i,4) CAMPAIGN(i,3) CAMPAIGN(i,5) CAMPAIGN(i,6) CAMPAIGN(i,7)
#define CAMP4(i) \
  CAMPAIGN(i,8) CAMPAIGN(i,9) CAMPAIGN(i,10) CAMPAIGN(i,11) CAMPAIGN(i,12) CAMPAIGN(i,13) CAMPAIGN(i,14) \
  CAMPAIGN(i,15)
#define CAMP5(i) \
  CAMPAIGN(i,16) \
  CAMPAIGN(i,17) CAMPAIGN(i,18) CAMPAIGN(i,19) CAMPAIGN(i,20) CAMPAIGN(i,21) CAMPAIGN(i,22) CAMPAIGN(i,23) \
  CAMPAIGN(i,24) CAMPAIGN(i,25) CAMPAIGN(i,26) CAMPAIGN(i,27) CAMPAIGN(i,28) CAMPAIGN(i,29) CAMPAIGN(i,30) \
  CAMPAIGN(i,31)
#ifdef N3
#define CAMP(i) CAMP3(i)
#elif defined(N4)
#define CAMP(i) CAMP3(i) CAMP4(i)
#else
#define CAMP(i) CAMP3(i) CAMP4(i) CAMP5(i)
#endif
inline campaign(i,qq) {
  q = qq; conf(i,c); ok = 0;
#ifdef APPLY
  pend(i,ap[i],cm[i],ok);
#endif
  if
  /* smallest majorities are enough */
  :: !ok && MAYSTAND(i,c) && ((q&c)|(1<<i))==q &&
     CNT(q&VOTERS(i,c))*2 > CNT(c) && CNT(q&VOTERS(i,c))*2-2 <= CNT(c) ->
     b = 1; v = 0;
     do
     :: v<N -> if :: v!=i && (q&(1<<v)) && !(term[v]<=term[i] && POS(v)<=POS(i)) -> b = 0 :: else fi; v++
     :: else -> break
     od;
     if
     :: b ->
#if GOAL==2
        assert(c&(1<<i));                                /* GOAL */
#endif
        term[i]++; gotldr = gotldr | (1<<term[i]); v = 0;
        do
        :: v<N -> if :: q&(1<<v) -> term[v] = term[i]; ldr[v] = 0; ackt[v] = 0; ackd[v] = 0 :: else fi; v++
        :: else -> break
        od;
        ldr[i] = 1;
        SAY("member %d leads term %d, counting votes by configuration %d\n",i,term[i],c);
        SAY("its voters: mask %d, log length %d, last term %d\n",q,ln[i],(ln[i]==0 -> 0 : LT(i,ln[i])));
        x = 1;
        do :: x<=MAXL -> assert(gt[x]==0 || gtm[x]>=term[i] || LT(i,x)==gt[x]); x++ :: else -> break od; /* S2 */
        x = 1;
        do :: x<=ln[i] -> ledlog[term[i]*W+x] = LT(i,x); x++ :: else -> break od;
        ledlen[term[i]] = ln[i]; x = 0
     :: else
     fi
  :: else
  fi; c = 0; q = 0; v = 0; b = 0; ok = 0
}
/* a member moves to the next term without a vote (failed campaigns, news of a term) */
#define BUMP(i) \
  :: d_step { term[i]<MAXT && nb<NBUMP -> \
       if :: NBUMP<255 -> nb++ :: else fi; term[i]++; ldr[i] = 0; ackt[i] = 0; ackd[i] = 0 }
/* leader appends an ordinary entry (the no-op) */
#define NOOP(i) \
  :: d_step { ldr[i] && MAYNOOP(i) && ln[i]<MAXL -> \
       ln[i]++; LT(i,ln[i]) = term[i]; LC(i,ln[i]) = 0; ledlog[term[i]*W+ln[i]] = term[i]; ledlen[term[i]] = ln[i]; \
       SAY("member %d appends a no-op of term %d at index %d\n",i,term[i],ln[i]) }
/* leader proposes to add or remove server f */
#define FLIP(i,f) \
  :: d_step { ldr[i] && ln[i]<MAXL && ncc<MAXCC && ((f)!=(i) || MAYSELF) && MAYFLIP(f) -> flip(i,f) }
inline flip(i,f) {
  conf(i,c); b = 1;
#ifdef APPLY
  pend(i,ap[i],ln[i],ok); if :: ok -> b = 0 :: else fi;
#else
#ifndef NOWAIT
  pend(i,cm[i],ln[i],ok); if :: ok -> b = 0 :: else fi;
#endif
#endif
#ifndef NOOWN
  if :: !(cm[i]>0 && LT(i,cm[i])==term[i]) -> b = 0 :: else fi;
#endif
  k = c ^ (1<<(f));
  if
  :: b -> ln[i]++; LT(i,ln[i]) = term[i]; LC(i,ln[i]) = k; ncc++;
     ledlog[term[i]*W+ln[i]] = term[i]; ledlen[term[i]] = ln[i];
     SAY("member %d appends configuration %d at index %d\n",i,k,ln[i])
  :: else
  fi; c = 0; b = 0; k = 0; ok = 0
}
/* leader i sends its log up to k to w, w acks */
#define SEND(i,w,kk) :: d_step { ldr[i] && (w)!=(i) && MAYSEND(i,w,kk) && kk<=ln[i] && term[w]<=term[i] && \
     (term[w]<term[i] || ackt[w]!=term[i] || ackd[w]<kk || (cm[w]<cm[i] && cm[w]<kk)) -> send(i,w,kk) }
#define SENDV(i,w) K3(SEND,i,w)
#define SENDI(i) V5(SENDV,i)
inline send(i,w,kk) {
  b = 0; x = 1;
  do
  :: x<=kk -> if :: x>ln[w] || LT(w,x)!=LT(i,x) -> b = 1; KEEP(w,x) :: else fi;
     LT(w,x) = LT(i,x); LC(w,x) = LC(i,x); x++
  :: else -> break
  od;
  HAVE(w,kk);              /* it acknowledges what is on its disk */
  if :: b ->
       x = kk+1;
       do :: x<=MAXL -> LT(w,x) = 0; LC(w,x) = 0; x++ :: else -> break od; ln[w] = kk
     :: else fi;
  x = 0;
  SAY("member %d sends up to index %d to member %d, acked\n",i,kk,w);
  if :: term[w]<term[i] -> ldr[w] = 0 :: else fi; term[w] = term[i];
  if
  :: ackt[w]!=term[i] -> ackt[w] = term[i]; ackd[w] = kk
  :: ackt[w]==term[i] && ackd[w]<kk -> ackd[w] = kk
  :: else
  fi;
  x = (cm[i]<kk -> cm[i] : kk);
  if :: x>cm[w] -> cm[w] = x :: else fi; x = 0; b = 0
}
/* entries up to kk are committed, says member i; takes b and x */
inline settle(i,kk) {
  cm[i] = kk; x = 1;
  do
  :: x<=kk -> assert(gt[x]==0 || gt[x]==LT(i,x));   /* S2 */
       if :: gt[x]==0 || gtm[x]>term[i] -> gtm[x] = term[i] :: else fi; gt[x] = LT(i,x);
       b = term[i]+1;
       do
       :: b<=MAXT -> assert(!(gotldr&(1<<b)) || (ledlen[b]>=x && ledlog[b*W+x]==gt[x])); b++      /* S2 */
       :: else -> break
       od;
       x++
  :: else -> break
  od; x = 0; b = 0
}
/* leader commits */
#define COMMIT(i,kk) :: d_step { ldr[i] && kk<=ln[i] && kk>cm[i] && LT(i,kk)==term[i] -> commit(i,kk) }
#define COMMITI(i) KC(COMMIT,i)
inline commit(i,kk) {
  conf(i,c); q = 0; v = 0;
  do
  :: v<N -> if :: (v==i && DURABLE(i,kk)) || (ackt[v]==term[i] && ackd[v]>=kk) -> q = q|(1<<v) :: else fi; v++
  :: else -> break
  od;
  v = 0;
  if
  :: CNT(q&COUNTED(i,c))*2 > CNT(c) ->
     SAY("member %d commits up to index %d in term %d\n",i,kk,term[i]);
     settle(i,kk)
#if GOAL==3
     ; if :: alone && ncr>0 && i!=0 && term[i]>1 -> assert(0) :: else fi                  /* GOAL */
#endif
  :: else
  fi; c = 0; q = 0
}
#ifdef ALONE
/* the leader's disk */
#define SYNC(i) :: d_step { du[i]<ln[i] -> du[i]++ }
/* who was alone commits the change that it is not any more */
#define SOLE(i) :: d_step { ln[i]>0 -> sole(i) }
inline sole(i) {
  c = START; q = START; k = 0; z = 1;
  do
  :: z<=ln[i] -> if :: LC(i,z)!=0 -> q = c; c = LC(i,z); k = z :: else fi; z++
  :: else -> break
  od; z = 0;
#ifdef ALONEBEHIND
  if :: k>0 -> k = du[i] :: else fi;
#elif !defined(ALONEEARLY)
  if :: k>du[i] -> k = du[i] :: else fi;
#endif
  if
  :: k>cm[i] && FEW(q) && (q&(1<<i)) && (c&(1<<i)) ->
     SAY("member %d alone commits up to index %d in term %d\n",i,k,term[i]);
     settle(i,k); NOTEALONE
  :: else
  fi; c = 0; q = 0; k = 0
}
#endif
#define APPLYONE(i) \
  :: d_step { MAYAPPLY(i) && ap[i]<cm[i] -> ap[i]++; \
       SAY("member %d applies index %d (configuration %d)\n",i,ap[i],LC(i,ap[i])) }
#ifdef ALONE
#define FORGET(i) cm[i] = 0; lose(i)
inline lose(i) {
  x = du[i]+1;
  do :: x<=MAXL -> LT(i,x) = 0; LC(i,x) = 0; x++ :: else -> break od; ln[i] = du[i]; x = 0
}
#elif defined(LOSECOMMIT)
#define FORGET(i) cm[i] = ap[i]
#else
#define FORGET(i) skip
#endif
#define CRASH(i) \
  :: d_step { MAYCRASH(i) && ncr<MAXCRASH -> ncr++; ldr[i] = 0; FORGET(i); \
       SAY("member %d crashes; log length %d, commit index now %d\n",i,ln[i],cm[i]) }

active proctype Sys() {
  byte c, q, v, x, z, k, b, ok;
  do
  I5(CAMP)
  I5(BUMP)
  I5(NOOP)
  V5(FLIP,0) V5(FLIP,1) V5(FLIP,2)
#ifndef N3
  V5(FLIP,3)
#ifndef N4
  V5(FLIP,4)
#endif
#endif
  I5(SENDI)
  I5(COMMITI)
#ifdef APPLY
  I5(APPLYONE)
#endif
#ifdef ALONE
  I5(SYNC)
  I5(SOLE)
#endif
#if MAXCRASH>0
  I5(CRASH)
#endif
#if GOAL==1      /* two changes made by leaders of different terms, the second one committed */
  :: d_step { ncc==2 && LC(0,2)!=0 && LT(0,2)==1 && gt[3]>1 &&
       ((LC(1,3)!=0 && LT(1,3)==gt[3]) || (LC(2,3)!=0 && LT(2,3)==gt[3])) -> assert(0) /* GOAL */ }
#endif
  od
}
