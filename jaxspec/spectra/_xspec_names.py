"""The names of XSPEC's components, in XSPEC's order, by which abbreviations are read."""

_LIST = """
    agauss agnsed agnslim apec bapec bcempow bcheb6 bcie bcoolflow bcph bequil bexpcheb6 bgadem bgnei bnei
    bsnapec btapec bbody bbodyrad bexrav bexriv bknpower bkn2pow bmc bnpshock bpshock bremss brnei bsedov bvapec
    bvcempow bvcheb6 bvcie bvcoolflow bvcph bvequil bvexpcheb6 bvgadem bvgnei bvnei bvnpshock bvpshock bvrnei
    bvsedov bvtapec bvvapec bvvcie bvvgadem bvvgnei bvvnei bvvnpshock bvvpshock bvvrnei bvvsedov bvvtapec
    bvvwdem bvwdem bwdem c6mekl c6pmekl c6pvmkl c6vmekl carbatm cemekl cempow cevmkl cflow cheb6 cie compbb
    compmag compls compps compst comptb compth comptt coolflow cph cplinear cutoffpl disk diskir diskbb diskline
    diskm disko diskpbb diskpn eebremss eplogpar eqpair eqtherm equil expdec expcheb6 ezdiskbb feklor gaussian
    gadem gnei grad grbcomp grbjet grbm hatm jet kerrbb kerrd kerrdisk kyconv kyrline laor laor2 logpar lorentz
    meka mekal mkcflow nei nlapec npshock nsa nsagrav nsatmos nsmax nsmaxg nsx nteea nthcomp optxagn optxagnf
    pegpwrlw pexmon pexrav pexriv plcabs powerlaw posm pshock qsosed raymond redge refsch rgsext rgsxsrc rnei
    sedov sirf slimbh smaug snapec srcut sresc ssa sssed step tapec vagauss vapec vbremss vcempow vcheb6 vcie
    vcoolflow vcph vexpcheb6 vequil vgadem vgaussian vgnei vlorentz vmeka vmekal vmcflow vnei vnpshock voigt
    vpshock vraymond vrnei vsedov vtapec vvapec vvcie vvgadem vvgnei vvnei vvnpshock vvoigt vvpshock vvrnei
    vvsedov vvtapec vvwdem vwdem wdem zagauss zbbody zbknpower zbremss zcutoffpl zfeklor zgauss zkerrbb zlogpar
    zlorentz zpowerlw zvlorentz zvoigt zvvoigt absori acisabs constant cabs cyclabs dust edge expabs expfac gabs
    heilin highecut hrefl ismabs ismdust logconst log10con lorabs lyman notch olivineabs pcfabs phabs plabs
    polconst pollin polpow pwab redden smedge spexpcut spline sss_ice swind1 tbabs tbfeo tbgas tbgrain tbvarabs
    tbpcf tbrel uvred varabs vgabs vlorabs voigtabs vphabs vvoigtabs wabs wndabs xion xscat zbabs zdust zedge
    zgabs zhighect zigm zlorabs zpcfabs zphabs zvlorabs zvoigtabs zvvoigtabs zxipab zxipcf zredden zsmdust
    ztbabs zvagauss zvarabs zvfeabs zvgabs zvgaussian zvphabs zwabs zwndabs cflux clumin cglumin cpflux gsmooth
    ireflect kdblur kdblur2 kerrconv lsmooth partcov rdblur reflect rfxconv simpl thcomp vashift vmshift xilconv
    zashift zmshift pileup bwcycl
"""
NAMES = tuple(_LIST.split())


def full_name(text: str) -> str:
    """XSPEC's component of that name, in any case; of an abbreviation, the first in XSPEC's list that begins with it.

    **Reference:** `model.dat` of XSPEC 12.15.
    """
    name = text.lower()
    return name if name in NAMES else next((each for each in NAMES if each.startswith(name)), name)
