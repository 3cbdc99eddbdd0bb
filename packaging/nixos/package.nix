# Not run here. With a flake or an overlay of your own:
#   xen-pv-audio = pkgs.callPackage ./packaging/nixos/package.nix { };
# pyxs is not in nixpkgs as far as we know: then it is yours to give, a buildPythonPackage of what PyPI
# has.
{
  alsa-lib,
  lib,
  libpulseaudio,
  pipewire,
  pkg-config,
  pyxs ? python3Packages.pyxs,
  python3Packages,
  xen,
}:

python3Packages.buildPythonApplication {
  pname = "xen-pv-audio";
  version = "0.1.0";
  pyproject = true;
  src = lib.cleanSource ../..;

  build-system = with python3Packages; [
    cffi
    setuptools
    wheel
  ];
  nativeBuildInputs = [
    pkg-config
    python3Packages.shtab
  ];
  buildInputs = [
    alsa-lib
    libpulseaudio
    pipewire
    xen
  ];
  dependencies = [
    python3Packages.cffi
    pyxs
  ];

  # The same folders without /usr, where NixOS looks for units, rules and options of packages.
  postInstall = ''
    patchShebangs packaging
    BINDIR=$out/bin packaging/install-files.sh "$TMPDIR/files" common frontend backend
    BUILT=$out packaging/install-files.sh "$TMPDIR/files" alsa
    cp -r "$TMPDIR"/files/usr/* $out/
  '';

  # They play sound for half an hour.
  doCheck = false;

  meta = {
    description = "Sound for Xen guests through PipeWire, with the true delay";
    license = lib.licenses.mit;
    mainProgram = "xen-pv-audio";
    platforms = lib.platforms.linux;
  };
}
