import pytest, attrs
from crirm.policy.static import *
from crirm.policy import static
from tests.unit.policy.test_policies import *
del test_a_machine_that_does_not_fit_is_refused, test_any_sequence
def m1(mp):
    old=StaticPolicy._changes
    mp.setattr(StaticPolicy,"_changes",lambda self,b,a,k:{x:y for x,y in old(self,b,a,k).items() if x==k})
def m2(mp):
    mp.setattr(StaticPolicy,"_without",lambda self,s,k: attrs.evolve(s,exclusive={o:c for o,c in s.exclusive.items() if o!=k},sharing=s.sharing-{k}))
def m3(mp):
    mp.setattr(StaticPolicy,"_with",lambda self,s,k,c: attrs.evolve(s,isolated=s.isolated-c,exclusive={**s.exclusive,k:c}))
def m4(mp):
    mp.setattr(StaticPolicy,"_kept",lambda self,s,n,own: NO_CPUS if not own else own|self.allocator.take(s.free,max(0,min(n-len(own),len(s.free))),Priority.HIGH))
def m5(mp):
    mp.setattr(StaticPolicy,"initial",lambda self: StaticState(self.partition.sharable|self.partition.reserved,self.partition.isolated))
@pytest.mark.parametrize("m",[m1,m2,m3,m4,m5])
def test_mutants_die(m,monkeypatch):
    m(monkeypatch)
    class Machine(PolicyMachine):
        kind=KINDS["static"]
    with pytest.raises(BaseException) as e:
        run_state_machine_as_test(Machine, settings=settings(SETTINGS,derandomize=True))
    print(type(e.value), str(e.value)[:100])
