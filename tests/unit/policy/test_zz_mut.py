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
def m5(mp):
    mp.setattr(StaticPolicy,"initial",lambda self: StaticState(self.partition.sharable|self.partition.reserved,self.partition.isolated))
def m6(mp):
    mp.setattr(StaticPolicy,"release",lambda self,s,w,k: Placement(s))
def m7(mp):
    mp.setattr(StaticPolicy,"_without",lambda self,s,k: (s.exclusive.pop(k,None),s)[1])
@pytest.mark.parametrize("m",[m1,m2,m3,m5,m6,m7])
@pytest.mark.parametrize("seed",range(3))
def test_mutants_die(m,monkeypatch,seed):
    m(monkeypatch)
    class Machine(PolicyMachine):
        kind=KINDS["static"]
    with pytest.raises(BaseException) as e:
        run_state_machine_as_test(Machine, settings=settings(SETTINGS,database=None,phases=["generate"] if 0 else settings.default.phases))
    print(type(e.value), str(e.value)[:100])
