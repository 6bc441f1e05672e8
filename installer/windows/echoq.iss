; The Windows installer, for Inno Setup 6. installer\build.py runs it: iscc /DVersion=0.1.0 installer\windows\echoq.iss
; It takes the folder dist\echoq that PyInstaller made. Per person by default, so no administrator is needed.

#ifndef Version
  #error Give the version: iscc /DVersion=... (installer\build.py does)
#endif

[Setup]
AppId={{6C1B9B0E-52D0-4E0B-9E55-0C6F0C5E7A31}
AppName=EchoQ
AppVersion={#Version}
AppVerName=EchoQ {#Version}
AppPublisher=The EchoQ authors
AppComments=For research use only. Not a medical device.
DefaultDirName={autopf}\EchoQ
DefaultGroupName=EchoQ
DisableProgramGroupPage=yes
PrivilegesRequired=lowest
PrivilegesRequiredOverridesAllowed=dialog
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
MinVersion=10.0.17763
LicenseFile=..\..\LICENSE
InfoBeforeFile=..\..\NOTICE.md
SetupIconFile=..\..\resources\icons\echoq.ico
UninstallDisplayIcon={app}\EchoQ-window.exe
UninstallDisplayName=EchoQ {#Version}
OutputDir=..\..\dist
OutputBaseFilename=EchoQ-{#Version}-setup
Compression=lzma2
SolidCompression=yes
WizardStyle=modern
ChangesAssociations=yes
CloseApplications=yes

[Languages]
Name: "english"; MessagesFile: "compiler:Default.isl"

[Tasks]
Name: "desktopicon"; Description: "{cm:CreateDesktopIcon}"; GroupDescription: "{cm:AdditionalIcons}"; Flags: unchecked

[InstallDelete]
; an older version's files must not stay between the new ones
Type: filesandordirs; Name: "{app}\_internal"

[Files]
Source: "..\..\dist\echoq\*"; DestDir: "{app}"; Flags: ignoreversion recursesubdirs createallsubdirs

[Icons]
Name: "{autoprograms}\EchoQ"; Filename: "{app}\EchoQ-window.exe"
Name: "{autodesktop}\EchoQ"; Filename: "{app}\EchoQ-window.exe"; Tasks: desktopicon

[Registry]
; "Open with" for .dcm, .avi and .mp4; what opens them by default stays as the person has it
Root: HKA; Subkey: "Software\Classes\EchoQ.Loop"; ValueType: string; ValueData: "Echo loop"; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\EchoQ.Loop\DefaultIcon"; ValueType: string; ValueData: "{app}\EchoQ-window.exe,0"
Root: HKA; Subkey: "Software\Classes\EchoQ.Loop\shell\open\command"; ValueType: string; ValueData: """{app}\EchoQ-window.exe"" open ""%1"""
Root: HKA; Subkey: "Software\Classes\.dcm\OpenWithProgids"; ValueType: string; ValueName: "EchoQ.Loop"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\.avi\OpenWithProgids"; ValueType: string; ValueName: "EchoQ.Loop"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\.mp4\OpenWithProgids"; ValueType: string; ValueName: "EchoQ.Loop"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\Applications\EchoQ-window.exe"; ValueType: string; ValueName: "FriendlyAppName"; ValueData: "EchoQ"; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\Applications\EchoQ-window.exe\shell\open\command"; ValueType: string; ValueData: """{app}\EchoQ-window.exe"" open ""%1"""
Root: HKA; Subkey: "Software\Classes\Applications\EchoQ-window.exe\SupportedTypes"; ValueType: string; ValueName: ".dcm"; ValueData: ""
Root: HKA; Subkey: "Software\Classes\Applications\EchoQ-window.exe\SupportedTypes"; ValueType: string; ValueName: ".avi"; ValueData: ""
Root: HKA; Subkey: "Software\Classes\Applications\EchoQ-window.exe\SupportedTypes"; ValueType: string; ValueName: ".mp4"; ValueData: ""

[Run]
Filename: "{app}\EchoQ-window.exe"; Description: "{cm:LaunchProgram,EchoQ}"; Flags: nowait postinstall skipifsilent
