# Not run here. In a guest:
#   imports = [ ./packaging/nixos/module.nix ];
#   services.xen-pv-audio.frontend.enable = true;
# On the host `backend` for `frontend`. For who is to use it:
#   users.users.NAME.extraGroups = [ "xen-audio" ];
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.xen-pv-audio;
in
{
  options.services.xen-pv-audio = {
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      description = "The program.";
    };
    frontend.enable = lib.mkEnableOption "sound in this Xen guest, through PipeWire";
    backend.enable = lib.mkEnableOption "sound for Xen guests, through this host's PipeWire";
    backend.policy = lib.mkOption {
      type = (pkgs.formats.toml { }).type;
      default = { };
      example = {
        domain.desktop.microphone = true;
      };
      description = "/etc/xen-pv-audio/backend.toml: what each guest may have.";
    };
  };

  config = lib.mkMerge [
    (lib.mkIf (cfg.frontend.enable || cfg.backend.enable) {
      environment.systemPackages = [ cfg.package ];
      # Its units and udev's rules are the package's; what lies in other folders is said here.
      systemd.packages = [ cfg.package ];
      services.udev.packages = [ cfg.package ];
      services.pipewire.enable = lib.mkDefault true;
      users.groups.xen-audio = { };
      boot.kernelModules = [
        "xen-evtchn"
        "xen-gntalloc"
        "xen-gntdev"
        "xenfs"
      ];
    })
    (lib.mkIf cfg.frontend.enable {
      systemd.user.services.xen-pv-audio-frontend.wantedBy = [ "default.target" ];
      # For a guest without PipeWire: where alsa-lib finds the plugins, and the device xenpv.
      environment.etc."alsa/conf.d/49-xen-pv-audio-plugins.conf".text = ''
        pcm_type.xenpv.lib "${cfg.package}/lib/alsa-lib/libasound_module_pcm_xenpv.so"
        ctl_type.xenpv.lib "${cfg.package}/lib/alsa-lib/libasound_module_ctl_xenpv.so"
      '';
      environment.etc."alsa/conf.d/50-xen-pv-audio.conf".source =
        "${cfg.package}/share/alsa/alsa.conf.d/50-xen-pv-audio.conf";
      boot.blacklistedKernelModules = [ "snd_xen_front" ];
      # Its folders share/pipewire are among what PipeWire's settings are made of.
      services.pipewire.configPackages = [ cfg.package ];
    })
    (lib.mkIf cfg.backend.enable {
      systemd.user.services.xen-pv-audio-backend.wantedBy = [ "default.target" ];
      systemd.services.xen-pv-audio-xenstore.wantedBy = [ "multi-user.target" ];
      environment.etc."xen-pv-audio/backend.toml".source =
        (pkgs.formats.toml { }).generate "backend.toml" cfg.backend.policy;
    })
  ];
}
