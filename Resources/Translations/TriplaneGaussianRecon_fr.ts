<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="fr_FR">
<context>
    <name>SegmentEditorEffect</name>
    <message>
        <source>Fill by image</source>
        <translation type="unfinished">Remplir selon l&apos;image</translation>
    </message>
    <message>
        <source>Fill segments between slices, guided by the image&lt;br&gt;. Instructions: &lt;p&gt;&lt;ul&gt;&lt;li&gt;Draw every segment on some slices, every eighth say, from where it begins to where it ends.&lt;li&gt;Press &lt;b&gt;Fill&lt;/b&gt;. All visible segments are filled. Look at the preview, and at the certainty.&lt;li&gt;Press &lt;b&gt;Draw slice ... next&lt;/b&gt;, draw there with any other effect, come back and fill again: that takes seconds. When content, press &lt;b&gt;Apply&lt;/b&gt;.&lt;/ul&gt;Slices on which nothing is drawn between drawn ones are filled. Masking settings are ignored.</source>
        <translation type="unfinished">Remplit les segments entre les coupes, guidé par l&apos;image&lt;br&gt;. Mode d&apos;emploi : &lt;p&gt;&lt;ul&gt;&lt;li&gt;Dessinez chaque segment sur quelques coupes, une sur huit par exemple, de son début à sa fin.&lt;li&gt;Appuyez sur &lt;b&gt;Remplir&lt;/b&gt;. Tous les segments visibles sont remplis. Regardez l&apos;aperçu et la certitude.&lt;li&gt;Appuyez sur &lt;b&gt;Dessiner ensuite la coupe ...&lt;/b&gt;, dessinez-y avec n&apos;importe quel autre effet, revenez et remplissez à nouveau : cela prend quelques secondes. Si le résultat vous convient, appuyez sur &lt;b&gt;Appliquer&lt;/b&gt;.&lt;/ul&gt;Les coupes sans dessin situées entre des coupes dessinées sont remplies. Les réglages de masque sont ignorés.</translation>
    </message>
</context>
<context>
    <name>TriplaneGaussianRecon</name>
    <message>
        <source>Inputs</source>
        <translation type="unfinished">Entrées</translation>
    </message>
    <message>
        <source>Input volume:</source>
        <translation type="unfinished">Volume d&apos;entrée :</translation>
    </message>
    <message>
        <source>The scan whose slices are sparse, thick or partly unusable. It is not changed.</source>
        <translation type="unfinished">L&apos;examen dont les coupes sont espacées, épaisses ou en partie inutilisables. Il n&apos;est pas modifié.</translation>
    </message>
    <message>
        <source>Choose a volume</source>
        <translation type="unfinished">Choisir un volume</translation>
    </message>
    <message>
        <source>Try it</source>
        <translation type="unfinished">Essayer</translation>
    </message>
    <message>
        <source>Load a sample scan and fill in the panel.</source>
        <translation type="unfinished">Charge un examen d&apos;exemple et remplit le panneau.</translation>
    </message>
    <message>
        <source>What to do:</source>
        <translation type="unfinished">Tâche :</translation>
    </message>
    <message>
        <source>Segmentation:</source>
        <translation type="unfinished">Segmentation :</translation>
    </message>
    <message>
        <source>Optional. Its segments are filled in on the slices on which they are not drawn yet, and between the used slices. It is not changed.</source>
        <translation type="unfinished">Facultative. Ses segments sont complétés sur les coupes où ils ne sont pas encore dessinés, et entre les coupes utilisées. Elle n&apos;est pas modifiée.</translation>
    </message>
    <message>
        <source>None</source>
        <translation type="unfinished">Aucune</translation>
    </message>
    <message>
        <source>Segments:</source>
        <translation type="unfinished">Segments :</translation>
    </message>
    <message>
        <source>Only the checked segments are filled in.</source>
        <translation type="unfinished">Seuls les segments cochés sont complétés.</translation>
    </message>
    <message>
        <source>All frames of the sequence</source>
        <translation type="unfinished">Toutes les images de la séquence</translation>
    </message>
    <message>
        <source>Reconstruct every frame of the sequence that the volume shows, one after another. Otherwise only the frame that is shown.</source>
        <translation type="unfinished">Reconstruit toutes les images de la séquence que montre le volume, l&apos;une après l&apos;autre. Sinon seulement l&apos;image affichée.</translation>
    </message>
    <message>
        <source>Further volumes of the same body</source>
        <translation type="unfinished">Autres volumes du même corps</translation>
    </message>
    <message>
        <source>Volumes:</source>
        <translation type="unfinished">Volumes :</translation>
    </message>
    <message>
        <source>Check other scans of the same body, such as thick slices in other directions. Each is taken where its transforms put it, with the slices along its axis of the largest spacing. They are not changed. Click on a name for what is used of it.</source>
        <translation type="unfinished">Cochez d&apos;autres examens du même corps, par exemple des coupes épaisses dans d&apos;autres directions. Chacun est pris là où ses transformations le placent, avec les coupes le long de l&apos;axe au plus grand espacement. Ils ne sont pas modifiés. Cliquez sur un nom pour choisir ce qui en est utilisé.</translation>
    </message>
    <message>
        <source>Excluded slices:</source>
        <translation type="unfinished">Coupes exclues :</translation>
    </message>
    <message>
        <source>Slices of this volume that are not used, such as 0,1,5-7. Numbers count from 0.</source>
        <translation type="unfinished">Coupes de ce volume qui ne sont pas utilisées, par exemple 0,1,5-7. Les numéros commencent à 0.</translation>
    </message>
    <message>
        <source>none</source>
        <translation type="unfinished">aucune</translation>
    </message>
    <message>
        <source>Optional: what is drawn on slices of this volume. All of its segments take part; those of equal name are the same in all volumes. It is not changed.</source>
        <translation type="unfinished">Facultative : ce qui est dessiné sur les coupes de ce volume. Tous ses segments participent ; ceux de même nom sont les mêmes dans tous les volumes. Elle n&apos;est pas modifiée.</translation>
    </message>
    <message>
        <source>Find motion</source>
        <translation type="unfinished">Déterminer le mouvement</translation>
    </message>
    <message>
        <source>Find how each further volume lies to the input volume, and how their grey values compare. The result is left as a transform for each. Otherwise they are taken as they lie.</source>
        <translation type="unfinished">Détermine la position de chaque autre volume par rapport au volume d&apos;entrée, et le rapport de leurs niveaux de gris. Le résultat reste sous forme d&apos;une transformation pour chacun. Sinon ils sont pris tels qu&apos;ils sont placés.</translation>
    </message>
    <message>
        <source>Slice thickness (mm):</source>
        <translation type="unfinished">Épaisseur de coupe (mm) :</translation>
    </message>
    <message>
        <source>Over how many mm a slice averages: one number for all volumes, or one for each with commas between them, the input volume first, such as 4,3.5,0. Empty or 0 for the distance of the slices.</source>
        <translation type="unfinished">Sur combien de mm une coupe fait la moyenne : un nombre pour tous les volumes, ou un pour chacun, séparés par des virgules, le volume d&apos;entrée d&apos;abord, par exemple 4,3.5,0. Vide ou 0 : la distance entre les coupes.</translation>
    </message>
    <message>
        <source>Slice distance</source>
        <translation type="unfinished">Distance entre coupes</translation>
    </message>
    <message>
        <source>Slice profile:</source>
        <translation type="unfinished">Profil de coupe :</translation>
    </message>
    <message>
        <source>How a slice averages: most MR is about Gaussian (the thickness is the full width at half maximum), averaged CT slices are boxes.</source>
        <translation type="unfinished">Comment une coupe fait la moyenne : l&apos;IRM le plus souvent selon une gaussienne (l&apos;épaisseur est la largeur à mi-hauteur), les coupes de scanner moyennées selon un rectangle.</translation>
    </message>
    <message>
        <source>Slices</source>
        <translation type="unfinished">Coupes</translation>
    </message>
    <message>
        <source>Slice axis:</source>
        <translation type="unfinished">Axe des coupes :</translation>
    </message>
    <message>
        <source>Across which axis of the volume the slices lie, between which something is missing.</source>
        <translation type="unfinished">Le long de quel axe du volume se suivent les coupes entre lesquelles il manque quelque chose.</translation>
    </message>
    <message>
        <source>Slices to use:</source>
        <translation type="unfinished">Coupes à utiliser :</translation>
    </message>
    <message>
        <source>Region:</source>
        <translation type="unfinished">Région :</translation>
    </message>
    <message>
        <source>Whole volume</source>
        <translation type="unfinished">Tout le volume</translation>
    </message>
    <message>
        <source>Which slices the result is made from. Whatever is on the others, their image too, is not looked at. To fill a segmentation that is drawn on some slices, use all.</source>
        <translation type="unfinished">De quelles coupes le résultat est fait. Ce qui est sur les autres, leur image aussi, n&apos;est pas regardé. Pour compléter une segmentation dessinée sur quelques coupes, utilisez-les toutes.</translation>
    </message>
    <message>
        <source>2 uses slices 0, 2, 4 and so on.</source>
        <translation type="unfinished">2 utilise les coupes 0, 2, 4 et ainsi de suite.</translation>
    </message>
    <message>
        <source>N = </source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>So many slices are used, spread evenly, the first and the last among them.</source>
        <translation type="unfinished">Tant de coupes sont utilisées, réparties régulièrement, dont la première et la dernière.</translation>
    </message>
    <message>
        <source> %</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice numbers, counted from 0.</source>
        <translation type="unfinished">Numéros de coupes, à partir de 0.</translation>
    </message>
    <message>
        <source>0,4,8-20</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slices that are not used, damaged ones for example. Slice numbers, counted from 0.</source>
        <translation type="unfinished">Coupes qui ne sont pas utilisées, par exemple parce qu&apos;elles sont abîmées. Numéros à partir de 0.</translation>
    </message>
    <message>
        <source>Exclude current slice</source>
        <translation type="unfinished">Exclure la coupe affichée</translation>
    </message>
    <message>
        <source>Exclude the slice that the slice view shows.</source>
        <translation type="unfinished">Exclut la coupe que montre la vue.</translation>
    </message>
    <message>
        <source>Labels from:</source>
        <translation type="unfinished">Étiquettes de :</translation>
    </message>
    <message>
        <source>On which slices the segmentation is complete; on the others it is filled from their image. Drawn slices: those on which a chosen segment is drawn. Slices far from these count as empty, those between them as not drawn yet. A further run goes on from what the last one learnt; with another preset, other segments or another seed it starts anew.</source>
        <translation type="unfinished">Sur quelles coupes la segmentation est complète ; sur les autres elle est complétée d&apos;après leur image. Coupes dessinées : celles où un segment choisi est dessiné. Les coupes loin de celles-ci comptent comme vides, celles d&apos;entre elles comme pas encore dessinées. Un nouveau calcul part de ce que le dernier a appris ; avec une autre qualité, d&apos;autres segments ou une autre graine il recommence à zéro.</translation>
    </message>
    <message>
        <source>Slice numbers, counted from 0. One in the list on which nothing is drawn is empty.</source>
        <translation type="unfinished">Numéros de coupes, à partir de 0. Une coupe de la liste où rien n&apos;est dessiné est vide.</translation>
    </message>
    <message>
        <source>0,8,16</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Empty slices:</source>
        <translation type="unfinished">Coupes vides :</translation>
    </message>
    <message>
        <source>Slices on which there truly is nothing to draw, so that nothing is filled there: 40,48-50 for example. Those far from drawn slices count as empty anyway. Slice numbers, counted from 0.</source>
        <translation type="unfinished">Coupes où il n&apos;y a vraiment rien à dessiner, si bien que rien n&apos;y est complété : par exemple 40,48-50. Celles qui sont loin des coupes dessinées comptent de toute façon comme vides. Numéros à partir de 0.</translation>
    </message>
    <message>
        <source>Current slice is empty</source>
        <translation type="unfinished">La coupe affichée est vide</translation>
    </message>
    <message>
        <source>Nothing is to be filled on the slice that the slice view shows.</source>
        <translation type="unfinished">Il n&apos;y a rien à compléter sur la coupe que montre la vue.</translation>
    </message>
    <message>
        <source>Output</source>
        <translation type="unfinished">Sortie</translation>
    </message>
    <message>
        <source>Where the result goes. The content of a volume that is chosen here is replaced once the whole result is there, and stays if the folder of the results is deleted.</source>
        <translation type="unfinished">Où va le résultat. Le contenu d&apos;un volume choisi ici est remplacé une fois que tout le résultat est là, et reste si le dossier des résultats est supprimé.</translation>
    </message>
    <message>
        <source>Create new volume</source>
        <translation type="unfinished">Créer un nouveau volume</translation>
    </message>
    <message>
        <source>Where the filled segmentation goes. The content of one that is chosen here is replaced once the whole result is there, and stays if the folder of the results is deleted.</source>
        <translation type="unfinished">Où va la segmentation complétée. Le contenu de celle qui est choisie ici est remplacé une fois que tout le résultat est là, et reste si le dossier des résultats est supprimé.</translation>
    </message>
    <message>
        <source>Create new segmentation</source>
        <translation type="unfinished">Créer une nouvelle segmentation</translation>
    </message>
    <message>
        <source>Slice spacing:</source>
        <translation type="unfinished">Espacement des coupes :</translation>
    </message>
    <message>
        <source>Distance between the slices of the result. Automatic: as in the input; if all slices are used and carry labels, as fine as the pixels.</source>
        <translation type="unfinished">Distance entre les coupes du résultat. Automatique : comme dans l&apos;entrée ; si toutes les coupes sont utilisées et portent des étiquettes, aussi fin que les pixels.</translation>
    </message>
    <message>
        <source> mm</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatique</translation>
    </message>
    <message>
        <source>Leave used slices as they are</source>
        <translation type="unfinished">Laisser les coupes utilisées telles quelles</translation>
    </message>
    <message>
        <source>Image and segmentation of the slices that are not bad are in the result as they were, to the bit. Otherwise they come out of the model like the others, and differ by a little.</source>
        <translation type="unfinished">L’image et la segmentation des coupes qui ne sont pas mauvaises figurent dans le résultat exactement telles qu’elles étaient. Sinon, elles sortent du modèle comme les autres et diffèrent un peu.</translation>
    </message>
    <message>
        <source>Quality:</source>
        <translation type="unfinished">Qualité :</translation>
    </message>
    <message>
        <source>Compute on:</source>
        <translation type="unfinished">Calculer sur :</translation>
    </message>
    <message>
        <source>Automatic takes the first graphics card that works, otherwise the processor (CPU).</source>
        <translation type="unfinished">Automatique prend la première carte graphique qui fonctionne, sinon le processeur (CPU).</translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation type="unfinished">Avancé</translation>
    </message>
    <message>
        <source>Parameter set:</source>
        <translation type="unfinished">Jeu de paramètres :</translation>
    </message>
    <message>
        <source>Several sets of the choices on this panel can be kept in a scene.</source>
        <translation type="unfinished">Plusieurs jeux des choix de ce panneau peuvent être gardés dans une scène.</translation>
    </message>
    <message>
        <source>Show 3D</source>
        <translation type="unfinished">Montrer en 3D</translation>
    </message>
    <message>
        <source>Show the filled segmentation in the 3D view, or hide it there.</source>
        <translation type="unfinished">Montre la segmentation complétée dans la vue 3D, ou l&apos;y masque.</translation>
    </message>
    <message>
        <source>Show input, result and expected error side by side, linked; where labels alone were filled, what was drawn, what was filled, and how certain it is.</source>
        <translation type="unfinished">Montrer l’entrée, le résultat et l’erreur attendue côte à côte, liés ; si seule une segmentation a été complétée : ce qui était dessiné, ce qui a été complété, et avec quelle certitude.</translation>
    </message>
    <message>
        <source>Show a table of all slices: how well those that were hidden came out, and the mean expected error; where labels alone were filled, how many of them are in doubt.</source>
        <translation type="unfinished">Montrer un tableau de toutes les coupes : la qualité de celles qui ont été cachées et l’erreur moyenne attendue ; si seule une segmentation a été complétée : combien de voxels sont douteux.</translation>
    </message>
    <message>
        <source>Show the slice on which drawing would help most; once something was drawn there, the button offers the next one. Reconstructing again goes on from what was learnt, and takes less time.</source>
        <translation type="unfinished">Affiche la coupe sur laquelle dessiner aiderait le plus ; dès qu&apos;on y a dessiné, le bouton propose la suivante. Une nouvelle reconstruction reprend ce qui a été appris et prend moins de temps.</translation>
    </message>
    <message>
        <source>Seed:</source>
        <translation type="unfinished">Graine :</translation>
    </message>
    <message>
        <source>What the volume needs. Automatic follows what you choose below. The panel shows what belongs to it; other choices have no effect.</source>
        <translation type="unfinished">Ce dont le volume a besoin. Automatique suit ce que vous choisissez plus bas. Le panneau montre ce qui en fait partie ; les autres choix sont sans effet.</translation>
    </message>
    <message>
        <source>What is reconstructed: the whole volume, or the voxels that a box in the views reaches into, which is quicker where it is much smaller than the volume. Slices keep their numbers. A new box lies in the middle of the volume; move its sides in the views.</source>
        <translation type="unfinished">Ce qui est reconstruit : le volume entier, ou les voxels qu&apos;atteint une boîte dans les vues, ce qui est plus rapide si elle est bien plus petite que le volume. Les coupes gardent leurs numéros. Une nouvelle boîte se trouve au milieu du volume ; déplacez ses côtés dans les vues.</translation>
    </message>
    <message>
        <source>Output volume:</source>
        <translation type="unfinished">Volume de sortie :</translation>
    </message>
    <message>
        <source>Output segmentation:</source>
        <translation type="unfinished">Segmentation de sortie :</translation>
    </message>
    <message>
        <source>The same seed gives the same result, but for labels that go on from what the last run learnt. Another seed lets them be learnt anew.</source>
        <translation type="unfinished">La même graine donne le même résultat, sauf pour les étiquettes qui partent de ce que le dernier calcul a appris. Avec une autre graine elles sont apprises à nouveau.</translation>
    </message>
    <message>
        <source>Memory:</source>
        <translation type="unfinished">Mémoire :</translation>
    </message>
    <message>
        <source>How much memory of this computer the computing may take at its peak. With less, large volumes are done in parts, which takes a little longer and changes nothing else; several volumes are not done in parts and need it all. Automatic takes what is free. That of a graphics card is its own.</source>
        <translation type="unfinished">Combien de mémoire de cet ordinateur le calcul peut occuper au plus. Avec moins, les grands volumes sont calculés par parties, ce qui prend un peu plus de temps et ne change rien d&apos;autre ; plusieurs volumes ne sont pas calculés par parties et ont besoin de tout. Automatique prend ce qui est libre. La mémoire d&apos;une carte graphique compte à part.</translation>
    </message>
    <message>
        <source> GB</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Threads:</source>
        <translation type="unfinished">Fils :</translation>
    </message>
    <message>
        <source>How many threads the computing may use. Fewer leave more of the processor to other programs, and take longer. The result is the same. Automatic takes as many as the processor has.</source>
        <translation type="unfinished">Combien de fils le calcul peut utiliser. Un nombre plus petit laisse plus de processeur aux autres programmes et prend plus de temps. Le résultat est le même. Automatique en prend autant que le processeur en a.</translation>
    </message>
    <message>
        <source>Keep model:</source>
        <translation type="unfinished">Garder le modèle :</translation>
    </message>
    <message>
        <source>to draw any plane of it, and to export it</source>
        <translation type="unfinished">pour en dessiner n&apos;importe quel plan, et pour l&apos;exporter</translation>
    </message>
    <message>
        <source>Keep the model file. It takes as much disk space as some copies of the volume.</source>
        <translation type="unfinished">Garde le fichier du modèle. Il prend autant de place sur le disque que quelques copies du volume.</translation>
    </message>
    <message>
        <source>Even texture:</source>
        <translation type="unfinished">Texture uniforme :</translation>
    </message>
    <message>
        <source>for looking, not for measuring</source>
        <translation type="unfinished">pour regarder, pas pour mesurer</translation>
    </message>
    <message>
        <source>Filled slices have less noise than used ones, so that scrolling flickers. Check this to add the noise that they lack. Each voxel is then further from the truth: leave it unchecked for measurements and for programs.</source>
        <translation type="unfinished">Les coupes complétées ont moins de bruit que celles utilisées, si bien que le défilement scintille. Cochez ceci pour ajouter le bruit qui leur manque. Chaque voxel est alors plus loin de la vérité : laissez-le décoché pour les mesures et pour les programmes.</translation>
    </message>
    <message>
        <source>Copy volume:</source>
        <translation type="unfinished">Copier le volume :</translation>
    </message>
    <message>
        <source>even if labels alone are filled</source>
        <translation type="unfinished">même si seules des étiquettes sont complétées</translation>
    </message>
    <message>
        <source>Where the image is known on all slices of the result, only segmentation and certainty are added to the scene. Check this to get a copy of the volume as well.</source>
        <translation type="unfinished">Là où l&apos;image est connue sur toutes les coupes du résultat, seules la segmentation et la certitude sont ajoutées à la scène. Cochez ceci pour avoir aussi une copie du volume.</translation>
    </message>
    <message>
        <source>Python packages...</source>
        <translation type="unfinished">Paquets Python...</translation>
    </message>
    <message>
        <source>Which Python packages are there, in which version, and whether they work; repair and upgrade them.</source>
        <translation type="unfinished">Quels paquets Python sont là, en quelle version, et s&apos;ils fonctionnent ; les réparer et les mettre à jour.</translation>
    </message>
    <message>
        <source>Reconstruct</source>
        <translation type="unfinished">Reconstruire</translation>
    </message>
    <message>
        <source>The slice in the middle of the result, as far as it is known.</source>
        <translation type="unfinished">La coupe du milieu du résultat, dans la mesure où elle est connue.</translation>
    </message>
    <message>
        <source>Copy log</source>
        <translation type="unfinished">Copier le journal</translation>
    </message>
    <message>
        <source>Copy what went wrong, the versions, your choices and the last lines of the log, to send when you ask for help. Look it through before: the second line may name a volume.</source>
        <translation type="unfinished">Copie ce qui a échoué, les versions, vos choix et les dernières lignes du journal, à envoyer quand vous demandez de l&apos;aide. Relisez-le avant : la deuxième ligne peut contenir le nom d&apos;un volume.</translation>
    </message>
    <message>
        <source>Results</source>
        <translation type="unfinished">Résultats</translation>
    </message>
    <message>
        <source>Show before</source>
        <translation type="unfinished">Montrer avant</translation>
    </message>
    <message>
        <source>Show what the result was made from in its place, and back again.</source>
        <translation type="unfinished">Montre à la place du résultat ce dont il est fait, puis de nouveau le résultat.</translation>
    </message>
    <message>
        <source>Compare</source>
        <translation type="unfinished">Comparer</translation>
    </message>
    <message>
        <source>Table</source>
        <translation type="unfinished">Tableau</translation>
    </message>
    <message>
        <source>Plot</source>
        <translation type="unfinished">Graphique</translation>
    </message>
    <message>
        <source>Plot the mean expected error of each slice; where labels alone were filled, how many of them are in doubt.</source>
        <translation type="unfinished">Trace l&apos;erreur attendue moyenne de chaque coupe ; là où seules des étiquettes ont été complétées, combien d&apos;entre elles sont douteuses.</translation>
    </message>
    <message>
        <source>Draw next slice</source>
        <translation type="unfinished">Dessiner la coupe suivante</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Montrer la certitude</translation>
    </message>
    <message>
        <source>Show where labels are in doubt, half transparent over the image: red where they are as likely wrong as right.</source>
        <translation type="unfinished">Montre où les étiquettes sont douteuses, à moitié transparent sur l&apos;image : en rouge là où elles ont autant de chances d&apos;être fausses que justes.</translation>
    </message>
    <message>
        <source>Render plane</source>
        <translation type="unfinished">Dessiner un plan</translation>
    </message>
    <message>
        <source>Draw the plane of the first slice view from the model, without any voxels in between.</source>
        <translation type="unfinished">Dessine le plan de la première vue de coupe à partir du modèle, sans passer par des voxels.</translation>
    </message>
    <message>
        <source>Export model...</source>
        <translation type="unfinished">Exporter le modèle...</translation>
    </message>
    <message>
        <source>Save the model as a file.</source>
        <translation type="unfinished">Enregistre le modèle dans un fichier.</translation>
    </message>
    <message>
        <source>Research software, not a medical device. Not for diagnosis or treatment.</source>
        <translation type="unfinished">Logiciel de recherche, pas un dispositif médical. Ni pour le diagnostic ni pour le traitement.</translation>
    </message>
    <message>
        <source>Triplane Gaussian Reconstruction</source>
        <translation type="unfinished">Triplane Gaussian Reconstruction</translation>
    </message>
    <message>
        <source>Turns sparse, thick or partly unusable slices into a dense volume and a dense segmentation, and says how far to trust them. For ultrasound, MR and CT. Choose a volume, say which of its slices to use, and press Reconstruct.</source>
        <translation type="unfinished">Fait de coupes espacées, épaisses ou en partie inutilisables un volume dense et une segmentation dense, et dit à quel point on peut s&apos;y fier. Pour l&apos;échographie, l&apos;IRM et le scanner. Choisissez un volume, dites quelles coupes utiliser, et appuyez sur Reconstruire.</translation>
    </message>
    <message>
        <source>Guide: a first try, and every control</source>
        <translation type="unfinished">Guide : un premier essai, et chaque commande</translation>
    </message>
    <message>
        <source>Research software, not a medical device. Not for diagnosis or treatment. Apache License, Version 2.0.</source>
        <translation type="unfinished">Logiciel de recherche, pas un dispositif médical. Ni pour le diagnostic ni pour le traitement. Apache License, Version 2.0.</translation>
    </message>
    <message>
        <source>How to cite it, and the method that it builds on</source>
        <translation type="unfinished">Comment le citer, et la méthode sur laquelle il repose</translation>
    </message>
</context>
<context>
    <name>TriplaneGaussianReconModule.wording</name>
    <message>
        <source>{number} s</source>
        <translation type="unfinished">{number} s</translation>
    </message>
    <message>
        <source>{number} min</source>
        <translation type="unfinished">{number} min</translation>
    </message>
    <message>
        <source>{number} h</source>
        <translation type="unfinished">{number} h</translation>
    </message>
    <message>
        <source>{number} GB</source>
        <translation type="unfinished">{number} Go</translation>
    </message>
    <message>
        <source>Fast</source>
        <translation type="unfinished">Rapide</translation>
    </message>
    <message>
        <source>Better</source>
        <translation type="unfinished">Meilleure</translation>
    </message>
    <message>
        <source>Best</source>
        <translation type="unfinished">La meilleure</translation>
    </message>
    <message>
        <source>{name} filled, {quality}, {time}</source>
        <translation type="unfinished">{name} complété, {quality}, {time}</translation>
    </message>
    <message>
        <source>{name} reconstructed, {quality}, {time}</source>
        <translation type="unfinished">{name} reconstruit, {quality}, {time}</translation>
    </message>
    <message>
        <source>use the module PyTorch Utils, as the guide explains</source>
        <translation type="unfinished">utilisez le module PyTorch Utils, comme l&apos;explique le guide</translation>
    </message>
    <message>
        <source>Stage {number} of {count}: {sentence}</source>
        <translation type="unfinished">Étape {number} sur {count} : {sentence}</translation>
    </message>
    <message>
        <source>sagittal</source>
        <translation type="unfinished">sagittales</translation>
    </message>
    <message>
        <source>coronal</source>
        <translation type="unfinished">coronales</translation>
    </message>
    <message>
        <source>axial</source>
        <translation type="unfinished">axiales</translation>
    </message>
    <message>
        <source>right</source>
        <translation type="unfinished">droite</translation>
    </message>
    <message>
        <source>left</source>
        <translation type="unfinished">gauche</translation>
    </message>
    <message>
        <source>anterior</source>
        <translation type="unfinished">avant</translation>
    </message>
    <message>
        <source>posterior</source>
        <translation type="unfinished">arrière</translation>
    </message>
    <message>
        <source>inferior</source>
        <translation type="unfinished">bas</translation>
    </message>
    <message>
        <source>superior</source>
        <translation type="unfinished">haut</translation>
    </message>
    <message>
        <source>Axis {axis}: {count} {plane} slices, {spacing} mm apart, from {first} to {last}.</source>
        <translation type="unfinished">Axe {axis} : {count} coupes {plane}, espacées de {spacing} mm, sens {first} - {last}.</translation>
    </message>
    <message>
        <source>Axis {axis}: {count} {plane} slices (oblique), {spacing} mm apart, from {first} to {last}.</source>
        <translation type="unfinished">Axe {axis} : {count} coupes {plane} (obliques), espacées de {spacing} mm, sens {first} - {last}.</translation>
    </message>
    <message>
        <source>{observed} of {count} slices are used: {listed}. Widest gap: {gap} mm.</source>
        <translation type="unfinished">{observed} coupes sur {count} sont utilisées : {listed}. Plus grand écart : {gap} mm.</translation>
    </message>
    <message>
        <source>{observed} of {count} slices are used, those in the region and the next ones around it: {listed}. Widest gap: {gap} mm.</source>
        <translation type="unfinished">{observed} coupes sur {count} sont utilisées, celles de la région et les suivantes autour : {listed}. Plus grand écart : {gap} mm.</translation>
    </message>
    <message>
        <source>No chosen segment is drawn on a slice that is used and carries labels.</source>
        <translation type="unfinished">Aucun segment choisi n&apos;est dessiné sur une coupe qui est utilisée et porte des étiquettes.</translation>
    </message>
    <message>
        <source>Labels from {count} drawn slices ({listed})</source>
        <translation type="unfinished">Étiquettes de {count} coupes dessinées ({listed})</translation>
    </message>
    <message>
        <source>Labels from {count} drawn slice ({listed})</source>
        <translation type="unfinished">Étiquettes de {count} coupe dessinée ({listed})</translation>
    </message>
    <message>
        <source>{count} are filled from the image ({listed})</source>
        <translation type="unfinished">{count} sont complétées d&apos;après l&apos;image ({listed})</translation>
    </message>
    <message>
        <source>{count} is filled from the image ({listed})</source>
        <translation type="unfinished">{count} est complétée d&apos;après l&apos;image ({listed})</translation>
    </message>
    <message>
        <source>{count} count as empty ({listed})</source>
        <translation type="unfinished">{count} comptent comme vides ({listed})</translation>
    </message>
    <message>
        <source>{count} counts as empty ({listed})</source>
        <translation type="unfinished">{count} compte comme vide ({listed})</translation>
    </message>
    <message>
        <source>Replaces no slice yet.</source>
        <translation type="unfinished">Ne remplace encore aucune coupe.</translation>
    </message>
    <message>
        <source>Replaces {missing} of {count} slices.</source>
        <translation type="unfinished">Remplace {missing} coupes sur {count}.</translation>
    </message>
    <message>
        <source>Replaces {missing} of {count} slices, and the segmentation on them.</source>
        <translation type="unfinished">Remplace {missing} coupes sur {count}, et la segmentation sur celles-ci.</translation>
    </message>
    <message>
        <source>Makes {missing} of {count} slices from the others.</source>
        <translation type="unfinished">Fait {missing} coupes sur {count} à partir des autres.</translation>
    </message>
    <message>
        <source>Changes nothing yet: every slice is used, and carries labels. Choose under &apos;Labels from&apos; from which slices they are taken; they are filled on the others.</source>
        <translation type="unfinished">Ne change encore rien : chaque coupe est utilisée et porte des étiquettes. Choisissez sous « Étiquettes de » de quelles coupes elles viennent ; elles sont complétées sur les autres.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm.</source>
        <translation type="unfinished">Fait de coupes de {old} mm des coupes de {new} mm.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm, and fills the segmentation on them.</source>
        <translation type="unfinished">Transforme les coupes de {old} mm en coupes de {new} mm, et y complète la segmentation.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm, and fills the segmentation on them, from {drawn} slices that are drawn on.</source>
        <translation type="unfinished">Fait de coupes de {old} mm des coupes de {new} mm et y complète la segmentation, à partir de {drawn} coupes dessinées.</translation>
    </message>
    <message>
        <source>How good the result is cannot be said: to hide a slice and check, at least 3 must be used, and one between two others must show something.</source>
        <translation type="unfinished">On ne peut pas dire quelle est la qualité du résultat : pour cacher une coupe et vérifier, il faut en utiliser au moins 3, et une entre deux autres doit montrer quelque chose.</translation>
    </message>
    <message>
        <source>It was not learnt: it is how far simple methods disagree, and errors may be many times as large.</source>
        <translation type="unfinished">Elle n’a pas été apprise : c’est l’écart entre des méthodes simples, et les erreurs peuvent être plusieurs fois plus grandes.</translation>
    </message>
    <message>
        <source>copies of the nearest slice</source>
        <translation type="unfinished">des copies de la coupe la plus proche</translation>
    </message>
    <message>
        <source>cubic interpolation</source>
        <translation type="unfinished">une interpolation cubique</translation>
    </message>
    <message>
        <source>smooth (monotone cubic) interpolation</source>
        <translation type="unfinished">une interpolation lisse (cubique monotone)</translation>
    </message>
    <message>
        <source>It says little about where the errors are: trust its size, not its pattern.</source>
        <translation type="unfinished">Elle dit peu sur l’endroit des erreurs : fiez-vous à sa grandeur, pas à sa répartition.</translation>
    </message>
    <message>
        <source>linear interpolation between slices</source>
        <translation type="unfinished">une interpolation linéaire entre les coupes</translation>
    </message>
    <message>
        <source>the best usual method, {name}</source>
        <translation type="unfinished">la meilleure méthode usuelle, {name}</translation>
    </message>
    <message>
        <source>Checked on {count} slices, each hidden and predicted across twice the real gap (PSNR {psnr} dB).</source>
        <translation type="unfinished">Vérifié sur {count} coupes, chacune cachée et prédite sur le double de l’écart réel (PSNR {psnr} dB).</translation>
    </message>
    <message>
        <source>No better than with {method}: errors are as large.</source>
        <translation type="unfinished">Pas mieux qu’avec {method} : les erreurs sont aussi grandes.</translation>
    </message>
    <message>
        <source>Hardly better than with {method}: errors are {share} % smaller ({gain} dB), which is hardly seen.</source>
        <translation type="unfinished">À peine mieux qu’avec {method} : les erreurs sont {share} % plus petites ({gain} dB), ce qui se voit à peine.</translation>
    </message>
    <message>
        <source>Slightly worse than with {method}: errors are {share} % larger ({gain} dB), which is hardly seen.</source>
        <translation type="unfinished">Un peu moins bien qu’avec {method} : les erreurs sont {share} % plus grandes ({gain} dB), ce qui se voit à peine.</translation>
    </message>
    <message>
        <source>Errors are {share} % smaller than with {method} ({gain} dB).</source>
        <translation type="unfinished">Les erreurs sont {share} % plus petites qu’avec {method} ({gain} dB).</translation>
    </message>
    <message>
        <source>Errors are {share} % larger than with {method} ({gain} dB), which serves this scan better.</source>
        <translation type="unfinished">Les erreurs sont {share} % plus grandes qu’avec {method} ({gain} dB), qui convient mieux à cet examen.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm, which is thicker.</source>
        <translation type="unfinished">Transforme les coupes de {old} mm en coupes de {new} mm, donc plus épaisses.</translation>
    </message>
    <message>
        <source>Fills the segmentation on {filled} slices, from {drawn} that are drawn on.</source>
        <translation type="unfinished">Complète la segmentation sur {filled} coupes, à partir de {drawn} coupes dessinées.</translation>
    </message>
    <message>
        <source>Changes nothing yet: every slice is used, and the result has the voxels of the input.</source>
        <translation type="unfinished">Ne change encore rien : toutes les coupes sont utilisées, et le résultat a les voxels de l&apos;entrée.</translation>
    </message>
    <message>
        <source>Makes one volume of {count}, with cubic voxels.</source>
        <translation type="unfinished">Fait de {count} volumes un seul, aux voxels cubiques.</translation>
    </message>
    <message>
        <source>learnt from this scan</source>
        <translation type="unfinished">apprises sur cet examen</translation>
    </message>
    <message>
        <source>Started from what the last run learnt.</source>
        <translation type="unfinished">Parti de ce que le dernier calcul a appris.</translation>
    </message>
    <message>
        <source>Started from what the last run learnt, whose check it is.</source>
        <translation type="unfinished">Parti de ce que le dernier passage a appris, dont vient la vérification.</translation>
    </message>
    <message>
        <source>by copying the nearest drawn slice</source>
        <translation type="unfinished">en copiant la coupe dessinée la plus proche</translation>
    </message>
    <message>
        <source>by the shape between drawn slices</source>
        <translation type="unfinished">par la forme entre les coupes dessinées</translation>
    </message>
    <message>
        <source>by following the image from slice to slice</source>
        <translation type="unfinished">en suivant l’image de coupe en coupe</translation>
    </message>
    <message>
        <source>{share} % {method}</source>
        <translation type="unfinished">{share} % {method}</translation>
    </message>
    <message>
        <source>How labels were filled: {methods}.</source>
        <translation type="unfinished">Comment les étiquettes ont été complétées : {methods}.</translation>
    </message>
    <message>
        <source>Filled labels overlap with drawn ones by Dice {dice} (1 is perfect overlap, 0 is none), on drawn slices that were hidden to check.</source>
        <translation type="unfinished">La segmentation complétée recouvre celle dessinée avec un Dice de {dice} (1 : recouvrement parfait, 0 : aucun), sur des coupes dessinées qui ont été cachées pour vérifier.</translation>
    </message>
    <message>
        <source>Slices filled: {filled}. How well cannot be said: with this quality no drawn slice is hidden to check. &apos;Better&apos; and &apos;Best&apos; do that where labels come from {fewest} slices or more.</source>
        <translation type="unfinished">Coupes complétées : {filled}. On ne peut pas dire avec quelle qualité : à ce niveau, aucune coupe dessinée n’est cachée pour vérifier. « Meilleure » et « La meilleure » le font si la segmentation vient de {fewest} coupes ou plus.</translation>
    </message>
    <message>
        <source>Slices filled: {filled}. How well cannot be said: this started from what a run learnt that hid no drawn slice to check. Another seed, under Advanced, starts anew and does.</source>
        <translation type="unfinished">Coupes complétées : {filled}. On ne peut pas dire avec quelle qualité : on est parti d’un passage qui n’a caché aucune coupe dessinée pour vérifier. Une autre graine, sous Avancé, recommence et le fait.</translation>
    </message>
    <message>
        <source>Slices filled: {filled}. How well cannot be said: to hide one and check, labels must come from {fewest} slices or more, and come from {labelled}.</source>
        <translation type="unfinished">Coupes complétées : {filled}. On ne peut pas dire avec quelle qualité : pour en cacher une et vérifier, la segmentation doit venir d’au moins {fewest} coupes ; elle vient de {labelled}.</translation>
    </message>
    <message>
        <source>Result: {shape} voxels of {spacing} mm.</source>
        <translation type="unfinished">Résultat : {shape} voxels de {spacing} mm.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was turned by {angle} degrees, and its middle moved by {shift} mm, to fit &apos;{first}&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; a été tourné de {angle} degrés et son milieu déplacé de {shift} mm, pour s&apos;accorder à &apos;{first}&apos;.</translation>
    </message>
    <message>
        <source>Result: cubic voxels about all volumes, as small as the smallest pixel.</source>
        <translation type="unfinished">Résultat : des voxels cubiques autour de tous les volumes, aussi petits que le plus petit pixel.</translation>
    </message>
    <message>
        <source>Result: cubic voxels of {side} mm about all volumes.</source>
        <translation type="unfinished">Résultat : des voxels cubiques de {side} mm autour de tous les volumes.</translation>
    </message>
    <message>
        <source>Will take about {time} on this computer, and {memory} of memory.</source>
        <translation type="unfinished">Prendra environ {time} sur cet ordinateur, et {memory} de mémoire.</translation>
    </message>
    <message>
        <source>Will take {time} at most on this computer, and {memory} of memory.</source>
        <translation type="unfinished">Prendra au plus {time} sur cet ordinateur, et {memory} de mémoire.</translation>
    </message>
    <message>
        <source>May take {time} on this computer, and {memory} of memory; this is a guess.</source>
        <translation type="unfinished">Peut prendre {time} sur cet ordinateur, et {memory} de mémoire ; c&apos;est une estimation.</translation>
    </message>
    <message>
        <source>Will take about {time} on this computer, and {memory} of memory on the graphics card.</source>
        <translation type="unfinished">Prendra environ {time} sur cet ordinateur, et {memory} de mémoire de la carte graphique.</translation>
    </message>
    <message>
        <source>{share} % of the range</source>
        <translation type="unfinished">{share} % de l&apos;étendue des valeurs</translation>
    </message>
    <message>
        <source>Expected error: {amount} (median in the body).</source>
        <translation type="unfinished">Erreur attendue : {amount} (médiane dans le corps).</translation>
    </message>
</context>
<context>
    <name>effect.filling</name>
    <message>
        <source>Choose a segmentation and a source volume first.</source>
        <translation type="unfinished">Choisissez d&apos;abord une segmentation et un volume source.</translation>
    </message>
    <message>
        <source>There is nothing to fill: no slice without labels lies between drawn ones.</source>
        <translation type="unfinished">Il n&apos;y a rien à remplir : aucune coupe sans étiquettes ne se trouve entre des coupes dessinées.</translation>
    </message>
    <message>
        <source>{name} (preview)</source>
        <translation type="unfinished">{name} (aperçu)</translation>
    </message>
</context>
<context>
    <name>effect.options</name>
    <message>
        <source>Fill</source>
        <translation type="unfinished">Remplir</translation>
    </message>
    <message>
        <source>Fill all visible segments between the slices on which they are drawn, guided by the image.</source>
        <translation type="unfinished">Remplit tous les segments visibles entre les coupes où ils sont dessinés, guidé par l&apos;image.</translation>
    </message>
    <message>
        <source>Show the slice on which drawing would help most.</source>
        <translation type="unfinished">Montre la coupe où dessiner aiderait le plus.</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Montrer la certitude</translation>
    </message>
    <message>
        <source>Lay over the image how certain the labels are: red where they are as likely wrong as right.</source>
        <translation type="unfinished">Superpose à l&apos;image la certitude des étiquettes : en rouge là où elles ont autant de chances d&apos;être fausses que justes.</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation type="unfinished">Appliquer</translation>
    </message>
    <message>
        <source>Put the preview into the segmentation.</source>
        <translation type="unfinished">Met l&apos;aperçu dans la segmentation.</translation>
    </message>
    <message>
        <source>Discard</source>
        <translation type="unfinished">Abandonner</translation>
    </message>
    <message>
        <source>Remove the preview.</source>
        <translation type="unfinished">Retire l&apos;aperçu.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Annuler</translation>
    </message>
    <message>
        <source>Fill again</source>
        <translation type="unfinished">Remplir à nouveau</translation>
    </message>
    <message>
        <source>Hide certainty</source>
        <translation type="unfinished">Masquer la certitude</translation>
    </message>
    <message>
        <source>The preview is shown half transparent. Apply it, or draw one more slice and fill again.</source>
        <translation type="unfinished">L&apos;aperçu est montré à moitié transparent. Appliquez-le, ou dessinez une coupe de plus et remplissez à nouveau.</translation>
    </message>
</context>
<context>
    <name>installation.checking</name>
    <message>
        <source>Python crashes when it is imported</source>
        <translation type="unfinished">Python plante quand il est importé</translation>
    </message>
    <message>
        <source>Python ends at once</source>
        <translation type="unfinished">Python s&apos;arrête aussitôt</translation>
    </message>
    <message>
        <source>{package} lacks {file}</source>
        <translation type="unfinished">il manque {file} à {package}</translation>
    </message>
    <message>
        <source>{packages}: a part of 3D Slicer, which is to be installed again</source>
        <translation type="unfinished">{packages} : une partie de 3D Slicer, qui est à réinstaller</translation>
    </message>
</context>
<context>
    <name>installation.commands</name>
    <message>
        <source>{doing}: {received} of {total} MB</source>
        <translation type="unfinished">{doing} : {received} sur {total} Mo</translation>
    </message>
</context>
<context>
    <name>installation.dependencies</name>
    <message>
        <source>This 3D Slicer is built for Macs with an Intel processor, and also runs as such on newer Macs. There is no PyTorch for them any more: the last one was 2.2, and 2.11 is needed. Nothing was downloaded. Use a 3D Slicer that is built for Apple processors (arm64), another computer, or, on a newer Mac, the command line of this project without Slicer.</source>
        <translation type="unfinished">Ce 3D Slicer est fait pour les Mac à processeur Intel, et fonctionne comme tel aussi sur les Mac plus récents. Il n&apos;y a plus de PyTorch pour eux : le dernier était 2.2, et il faut 2.11. Rien n&apos;a été téléchargé. Utilisez un 3D Slicer fait pour les processeurs Apple (arm64), un autre ordinateur ou, sur un Mac plus récent, la ligne de commande de ce projet sans Slicer.</translation>
    </message>
    <message>
        <source>Python packages are missing, and nobody can be asked: {packages}</source>
        <translation type="unfinished">Des paquets Python manquent, et personne ne peut être interrogé : {packages}</translation>
    </message>
    <message>
        <source>This computer has an NVIDIA GPU, but the installed torch was built for the CPU alone, so that the CPU computes. To use the GPU, open the module PyTorch Utils, uninstall torch, restart Slicer, and install it with a computation backend that starts with &apos;cu&apos;.</source>
        <translation type="unfinished">Cet ordinateur a un GPU NVIDIA, mais le torch installé est fait pour le CPU seul, si bien que c&apos;est le CPU qui calcule. Pour utiliser le GPU, ouvrez le module PyTorch Utils, désinstallez torch, redémarrez Slicer, et installez-le avec un moteur de calcul dont le nom commence par &apos;cu&apos;.</translation>
    </message>
    <message>
        <source>The installed torch was built for CUDA {version}, but no NVIDIA driver was found, so that the CPU computes. If this computer has an NVIDIA GPU, install its driver.</source>
        <translation type="unfinished">Le torch installé est fait pour CUDA {version}, mais aucun pilote NVIDIA n&apos;a été trouvé, si bien que c&apos;est le CPU qui calcule. Si cet ordinateur a un GPU NVIDIA, installez son pilote.</translation>
    </message>
</context>
<context>
    <name>installation.dialog</name>
    <message>
        <source>Triplane Gaussian Reconstruction: Python packages</source>
        <translation type="unfinished">Triplane Gaussian Reconstruction : paquets Python</translation>
    </message>
    <message>
        <source>Copy log</source>
        <translation type="unfinished">Copier le journal</translation>
    </message>
    <message>
        <source>Restart Slicer</source>
        <translation type="unfinished">Redémarrer Slicer</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Annuler</translation>
    </message>
    <message>
        <source>The extension PyTorch is installed, but was not loaded: View &gt; Error Log says why.</source>
        <translation type="unfinished">L&apos;extension PyTorch est installée, mais n&apos;a pas été chargée : View &gt; Error Log dit pourquoi.</translation>
    </message>
    <message>
        <source>Close</source>
        <translation type="unfinished">Fermer</translation>
    </message>
    <message>
        <source>First of all the extension PyTorch is installed by the Extensions Manager. 3D Slicer has to be restarted then: save your work before. After that it goes on by itself.</source>
        <translation type="unfinished">D&apos;abord le gestionnaire d&apos;extensions installe l&apos;extension PyTorch. 3D Slicer doit ensuite être redémarré : enregistrez votre travail avant. Après cela, tout continue de soi-même.</translation>
    </message>
    <message>
        <source>The extension PyTorch is installed. Restart Slicer: then it goes on by itself.</source>
        <translation type="unfinished">L&apos;extension PyTorch est installée. Redémarrez Slicer : tout continue alors de soi-même.</translation>
    </message>
    <message>
        <source>These packages were in use and have changed: {packages}. Restart Slicer before you go on with other modules.</source>
        <translation type="unfinished">Ces paquets étaient utilisés et ont changé : {packages}. Redémarrez Slicer avant de continuer avec d&apos;autres modules.</translation>
    </message>
    <message>
        <source>Later</source>
        <translation type="unfinished">Plus tard</translation>
    </message>
    <message>
        <source>Installing failed. {reason}</source>
        <translation type="unfinished">L&apos;installation a échoué. {reason}</translation>
    </message>
    <message>
        <source>These packages are in use by this Slicer: {packages}. Restart Slicer: then it goes on by itself, before they are.</source>
        <translation type="unfinished">Ces paquets sont utilisés par ce Slicer : {packages}. Redémarrez Slicer : tout continue alors de soi-même, avant qu&apos;ils ne le soient à nouveau.</translation>
    </message>
    <message>
        <source>Go on</source>
        <translation type="unfinished">Continuer</translation>
    </message>
    <message>
        <source>Try again</source>
        <translation type="unfinished">Réessayer</translation>
    </message>
</context>
<context>
    <name>installation.extension</name>
    <message>
        <source>The extension PyTorch is needed. Install it in the Extensions Manager, restart Slicer and try again.</source>
        <translation type="unfinished">L&apos;extension PyTorch est nécessaire. Installez-la dans le gestionnaire d&apos;extensions, redémarrez Slicer et réessayez.</translation>
    </message>
    <message>
        <source>This Slicer has no Extensions Manager.</source>
        <translation type="unfinished">Ce Slicer n&apos;a pas de gestionnaire d&apos;extensions.</translation>
    </message>
    <message>
        <source>It is installed, but was made for another version of Slicer: update it.</source>
        <translation type="unfinished">Elle est installée, mais faite pour une autre version de Slicer : mettez-la à jour.</translation>
    </message>
    <message>
        <source>Asking the Extensions Manager for PyTorch</source>
        <translation type="unfinished">Demande PyTorch au gestionnaire d&apos;extensions</translation>
    </message>
    <message>
        <source>The server of extensions is not known, or could not be asked.</source>
        <translation type="unfinished">Le serveur d&apos;extensions n&apos;est pas connu, ou n&apos;a pas pu être interrogé.</translation>
    </message>
    <message>
        <source>The server of extensions did not answer: is this computer connected to the internet?</source>
        <translation type="unfinished">Le serveur d&apos;extensions n&apos;a pas répondu : cet ordinateur est-il connecté à Internet ?</translation>
    </message>
    <message>
        <source>The server of extensions has none of this name for this version of Slicer, or its files may not be written.</source>
        <translation type="unfinished">Le serveur d&apos;extensions n&apos;en a pas de ce nom pour cette version de Slicer, ou ses fichiers ne peuvent pas être écrits.</translation>
    </message>
    <message>
        <source>Downloading the extension PyTorch</source>
        <translation type="unfinished">Téléchargement de l&apos;extension PyTorch</translation>
    </message>
    <message>
        <source>It could not be downloaded or unpacked.</source>
        <translation type="unfinished">Elle n&apos;a pas pu être téléchargée ou décompressée.</translation>
    </message>
    <message>
        <source>{reason} View &gt; Error Log may say more. Or install the extension PyTorch in the Extensions Manager yourself, restart Slicer and try again.</source>
        <translation type="unfinished">{reason} View &gt; Error Log en dit peut-être plus. Ou installez vous-même l&apos;extension PyTorch dans le gestionnaire d&apos;extensions, redémarrez Slicer et réessayez.</translation>
    </message>
</context>
<context>
    <name>installation.installation</name>
    <message>
        <source>Finding out what is needed</source>
        <translation type="unfinished">Recherche de ce qui est nécessaire</translation>
    </message>
    <message>
        <source>Downloading {name} ({number} of {count})</source>
        <translation type="unfinished">Téléchargement de {name} ({number} sur {count})</translation>
    </message>
    <message>
        <source>Installing {count} packages</source>
        <translation type="unfinished">Installation de {count} paquets</translation>
    </message>
    <message>
        <source>Cancelled. What has been downloaded is kept for the next try.</source>
        <translation type="unfinished">Annulé. Ce qui a été téléchargé est gardé pour le prochain essai.</translation>
    </message>
    <message>
        <source>Still missing: {packages}.</source>
        <translation type="unfinished">Il manque encore : {packages}.</translation>
    </message>
    <message>
        <source>Still missing or damaged:</source>
        <translation type="unfinished">Toujours manquants ou abîmés :</translation>
    </message>
    <message>
        <source>Slicer is installing packages for another module. Wait until it is done, and try again.</source>
        <translation type="unfinished">Slicer installe des paquets pour un autre module. Attendez qu&apos;il ait fini, puis réessayez.</translation>
    </message>
</context>
<context>
    <name>installation.packages</name>
    <message>
        <source>present</source>
        <translation type="unfinished">présent</translation>
    </message>
    <message>
        <source>missing</source>
        <translation type="unfinished">manque</translation>
    </message>
    <message>
        <source>too old</source>
        <translation type="unfinished">trop ancien</translation>
    </message>
    <message>
        <source>another version is needed</source>
        <translation type="unfinished">une autre version est nécessaire</translation>
    </message>
    <message>
        <source>damaged</source>
        <translation type="unfinished">abîmé</translation>
    </message>
    <message>
        <source>learning and fitting</source>
        <translation type="unfinished">apprendre et ajuster</translation>
    </message>
    <message>
        <source>reads NIfTI files</source>
        <translation type="unfinished">lit les fichiers NIfTI</translation>
    </message>
    <message>
        <source>compiles the drawing of Gaussians for this processor</source>
        <translation type="unfinished">compile le dessin des gaussiennes pour ce processeur</translation>
    </message>
    <message>
        <source>how structures move from slice to slice</source>
        <translation type="unfinished">comment les structures se déplacent d&apos;une coupe à l&apos;autre</translation>
    </message>
    <message>
        <source>how much memory is free</source>
        <translation type="unfinished">combien de mémoire est libre</translation>
    </message>
    <message>
        <source>reads NRRD files</source>
        <translation type="unfinished">lit les fichiers NRRD</translation>
    </message>
    <message>
        <source>model files</source>
        <translation type="unfinished">fichiers des modèles</translation>
    </message>
    <message>
        <source>numerics</source>
        <translation type="unfinished">calcul numérique</translation>
    </message>
    <message>
        <source>computing on an NVIDIA GPU</source>
        <translation type="unfinished">calculer sur un GPU NVIDIA</translation>
    </message>
    <message>
        <source>it needs {packages}</source>
        <translation type="unfinished">il a besoin de {packages}</translation>
    </message>
</context>
<context>
    <name>installation.packages_dialog</name>
    <message>
        <source>Triplane Gaussian Reconstruction: Python packages</source>
        <translation type="unfinished">Triplane Gaussian Reconstruction : paquets Python</translation>
    </message>
    <message>
        <source>Copy</source>
        <translation type="unfinished">Copier</translation>
    </message>
    <message>
        <source>Copy the list as a text, such as a report of a fault wants.</source>
        <translation type="unfinished">Copie la liste sous forme de texte, par exemple pour signaler un défaut.</translation>
    </message>
    <message>
        <source>Repair...</source>
        <translation type="unfinished">Réparer...</translation>
    </message>
    <message>
        <source>Download and install what is missing, too old or damaged. You are asked before.</source>
        <translation type="unfinished">Télécharge et installe ce qui manque, est trop ancien ou abîmé. Vous êtes interrogé avant.</translation>
    </message>
    <message>
        <source>Upgrade...</source>
        <translation type="unfinished">Mettre à jour...</translation>
    </message>
    <message>
        <source>Download and install the newest versions that fit. You are asked before.</source>
        <translation type="unfinished">Télécharge et installe les versions les plus récentes qui conviennent. Vous êtes interrogé avant.</translation>
    </message>
    <message>
        <source>Close</source>
        <translation type="unfinished">Fermer</translation>
    </message>
    <message>
        <source>Looking whether each can be imported; this takes some seconds...</source>
        <translation type="unfinished">Vérifie si chacun peut être importé ; cela prend quelques secondes...</translation>
    </message>
    <message>
        <source>Missing, too old or damaged: {packages}.</source>
        <translation type="unfinished">Manquants, trop anciens ou abîmés : {packages}.</translation>
    </message>
    <message>
        <source>Everything is there and can be imported.</source>
        <translation type="unfinished">Tout est là et peut être importé.</translation>
    </message>
    <message>
        <source>In use by this Slicer, so that a change of it takes a restart: {packages}.</source>
        <translation type="unfinished">Utilisés par ce Slicer, si bien qu&apos;un changement demande un redémarrage : {packages}.</translation>
    </message>
    <message>
        <source>Package</source>
        <translation type="unfinished">Paquet</translation>
    </message>
    <message>
        <source>For what</source>
        <translation type="unfinished">Pour quoi</translation>
    </message>
    <message>
        <source>Installed</source>
        <translation type="unfinished">Installé</translation>
    </message>
    <message>
        <source>Required</source>
        <translation type="unfinished">Requis</translation>
    </message>
    <message>
        <source>State</source>
        <translation type="unfinished">État</translation>
    </message>
    <message>
        <source>looking...</source>
        <translation type="unfinished">vérification...</translation>
    </message>
    <message>
        <source>any</source>
        <translation type="unfinished">au choix</translation>
    </message>
</context>
<context>
    <name>installation.remedies</name>
    <message>
        <source>The log says why; its last lines are the most telling ones.</source>
        <translation type="unfinished">Le journal dit pourquoi ; ses dernières lignes en disent le plus.</translation>
    </message>
    <message>
        <source>The pip in Slicer&apos;s Python is too old. In the Python console, type slicer.util.pip_install(&apos;--upgrade pip&apos;), restart Slicer and try again.</source>
        <translation type="unfinished">Le pip du Python de Slicer est trop ancien. Dans la console Python, tapez slicer.util.pip_install(&apos;--upgrade pip&apos;), redémarrez Slicer et réessayez.</translation>
    </message>
    <message>
        <source>A file was changed or withheld on its way, as antivirus programs and some proxies do. Let the antivirus program except Slicer&apos;s folder, or ask who looks after this computer; then try again.</source>
        <translation type="unfinished">Un fichier a été modifié ou retenu en route, comme le font les antivirus et certains proxys. Faites exclure le dossier de Slicer par l&apos;antivirus, ou demandez à qui s&apos;occupe de cet ordinateur ; puis réessayez.</translation>
    </message>
    <message>
        <source>A path is too long for Windows. Install Slicer into a folder with a short path, or allow long paths in Windows.</source>
        <translation type="unfinished">Un chemin est trop long pour Windows. Installez Slicer dans un dossier au chemin court, ou autorisez les chemins longs dans Windows.</translation>
    </message>
    <message>
        <source>The disk is full: make room and try again.</source>
        <translation type="unfinished">Le disque est plein : faites de la place et réessayez.</translation>
    </message>
    <message>
        <source>Files are in use or may not be written. Restart Slicer, close its other windows, and try this before anything else; Slicer has to be in a folder that you may write to.</source>
        <translation type="unfinished">Des fichiers sont utilisés ou ne peuvent pas être écrits. Redémarrez Slicer, fermez ses autres fenêtres, et essayez ceci avant toute autre chose ; Slicer doit être dans un dossier où vous avez le droit d&apos;écrire.</translation>
    </message>
    <message>
        <source>The proxy refused the connection. Set the environment variable HTTPS_PROXY to http://user:password@host:port before Slicer is started.</source>
        <translation type="unfinished">Le proxy a refusé la connexion. Donnez à la variable d&apos;environnement HTTPS_PROXY la valeur http://user:password@host:port avant de démarrer Slicer.</translation>
    </message>
    <message>
        <source>A certificate was not accepted, as happens behind proxies that look into connections. Set the environment variable PIP_CERT to the file of your organisation&apos;s certificates before Slicer is started.</source>
        <translation type="unfinished">Un certificat n&apos;a pas été accepté, comme il arrive derrière des proxys qui inspectent les connexions. Donnez à la variable d&apos;environnement PIP_CERT le fichier des certificats de votre organisation avant de démarrer Slicer.</translation>
    </message>
    <message>
        <source>The internet could not be reached. Connect and try again; behind a proxy, set the environment variable HTTPS_PROXY to http://host:port before Slicer is started.</source>
        <translation type="unfinished">Internet n&apos;a pas pu être atteint. Connectez-vous et réessayez ; derrière un proxy, donnez à la variable d&apos;environnement HTTPS_PROXY la valeur http://host:port avant de démarrer Slicer.</translation>
    </message>
    <message>
        <source>The server download.pytorch.org, from which torch comes, could not be reached. Let the firewall or proxy let it through, and try again.</source>
        <translation type="unfinished">Le serveur download.pytorch.org, d&apos;où vient torch, n&apos;a pas pu être atteint. Faites-le autoriser par le pare-feu ou le proxy, et réessayez.</translation>
    </message>
    <message>
        <source>An earlier installation was broken off. In Slicer&apos;s folder lib/Python/Lib/site-packages, delete what that package left there (for torch: the folders whose names start with &apos;torch-&apos; or &apos;~orch&apos;), and try again.</source>
        <translation type="unfinished">Une installation précédente a été interrompue. Dans le dossier lib/Python/Lib/site-packages de Slicer, supprimez ce que ce paquet y a laissé (pour torch : les dossiers dont le nom commence par &apos;torch-&apos; ou &apos;~orch&apos;), puis réessayez.</translation>
    </message>
    <message>
        <source>No version fits what is installed. A newer Slicer may help; or uninstall the conflicting package, which the log names, if another extension brought it.</source>
        <translation type="unfinished">Aucune version ne convient à ce qui est installé. Un Slicer plus récent peut aider ; ou désinstallez le paquet en conflit, que nomme le journal, si une autre extension l&apos;a apporté.</translation>
    </message>
    <message>
        <source>There is no version of a package for this Slicer&apos;s Python and this system; the log names it. If you are behind a proxy or a mirror of PyPI, it may be that this lacks the package. Otherwise a newer Slicer may help.</source>
        <translation type="unfinished">Il n&apos;y a pas de version d&apos;un paquet pour le Python de ce Slicer et ce système ; le journal le nomme. Derrière un proxy ou un miroir de PyPI, il se peut qu&apos;il y manque. Sinon un Slicer plus récent peut aider.</translation>
    </message>
</context>
<context>
    <name>installation.tasks</name>
    <message>
        <source>A reconstruction needs Python packages that are not installed yet. They are downloaded into Slicer&apos;s own Python; other extensions may use them too. Nothing is sent.</source>
        <translation type="unfinished">Une reconstruction a besoin de paquets Python qui ne sont pas encore installés. Ils sont téléchargés dans le Python de Slicer ; d&apos;autres extensions peuvent aussi les utiliser. Rien n&apos;est envoyé.</translation>
    </message>
    <message>
        <source>Install them now?</source>
        <translation type="unfinished">Les installer maintenant ?</translation>
    </message>
    <message>
        <source>Install</source>
        <translation type="unfinished">Installer</translation>
    </message>
    <message>
        <source>Everything is installed.</source>
        <translation type="unfinished">Tout est installé.</translation>
    </message>
    <message>
        <source>These packages are downloaded and installed anew. Other extensions may use them too. What 3D Slicer brings stays as it is. Nothing is sent.</source>
        <translation type="unfinished">Ces paquets sont téléchargés et réinstallés. D&apos;autres extensions peuvent aussi les utiliser. Ce qu&apos;apporte 3D Slicer reste tel quel. Rien n&apos;est envoyé.</translation>
    </message>
    <message>
        <source>Repair them now?</source>
        <translation type="unfinished">Les réparer maintenant ?</translation>
    </message>
    <message>
        <source>Repair</source>
        <translation type="unfinished">Réparer</translation>
    </message>
    <message>
        <source>What was missing, too old or damaged has been installed.</source>
        <translation type="unfinished">Ce qui manquait, était trop ancien ou abîmé a été installé.</translation>
    </message>
    <message>
        <source>Nothing had to be repaired.</source>
        <translation type="unfinished">Il n&apos;y avait rien à réparer.</translation>
    </message>
    <message>
        <source>The newest versions that fit are downloaded and installed. Other extensions may use these packages too, and may need older ones. What 3D Slicer brings stays as it is. Nothing is sent.</source>
        <translation type="unfinished">Les versions les plus récentes qui conviennent sont téléchargées et installées. D&apos;autres extensions peuvent aussi utiliser ces paquets, et en demander de plus anciens. Ce qu&apos;apporte 3D Slicer reste tel quel. Rien n&apos;est envoyé.</translation>
    </message>
    <message>
        <source>{package}, now {version}</source>
        <translation type="unfinished">{package}, actuellement {version}</translation>
    </message>
    <message>
        <source>Upgrade them now?</source>
        <translation type="unfinished">Les mettre à jour maintenant ?</translation>
    </message>
    <message>
        <source>Upgrade</source>
        <translation type="unfinished">Mettre à jour</translation>
    </message>
    <message>
        <source>Newer versions have been installed.</source>
        <translation type="unfinished">Des versions plus récentes ont été installées.</translation>
    </message>
    <message>
        <source>Everything is as new as it can be.</source>
        <translation type="unfinished">Tout est aussi récent que possible.</translation>
    </message>
</context>
<context>
    <name>panel.before_after</name>
    <message>
        <source>Show before</source>
        <translation type="unfinished">Montrer avant</translation>
    </message>
    <message>
        <source>Show after</source>
        <translation type="unfinished">Montrer après</translation>
    </message>
</context>
<context>
    <name>panel.device_choice</name>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatique</translation>
    </message>
    <message>
        <source>Looking for graphics cards...</source>
        <translation type="unfinished">Recherche de cartes graphiques...</translation>
    </message>
    <message>
        <source>This computer has no device {device}. Choose another one.</source>
        <translation type="unfinished">Cet ordinateur n&apos;a pas d&apos;appareil {device}. Choisissez-en un autre.</translation>
    </message>
    <message>
        <source>What there is to compute on will be known once the Python packages are installed.</source>
        <translation type="unfinished">Sur quoi on peut calculer sera connu une fois les paquets Python installés.</translation>
    </message>
    <message>
        <source>Computed on the processor. {reason}</source>
        <translation type="unfinished">Calculé sur le processeur. {reason}</translation>
    </message>
    <message>
        <source>CPU</source>
        <translation type="unfinished">CPU</translation>
    </message>
    <message>
        <source>{kind}: {name}, {memory}</source>
        <translation type="unfinished">{kind} : {name}, {memory}</translation>
    </message>
</context>
<context>
    <name>panel.folder_dialog</name>
    <message>
        <source>Reconstruct a folder...</source>
        <translation type="unfinished">Reconstruire un dossier...</translation>
    </message>
    <message>
        <source>Reconstruct all volumes of a folder, in a process of their own; Slicer can be used meanwhile.</source>
        <translation type="unfinished">Reconstruit tous les volumes d&apos;un dossier, dans un processus à part ; Slicer reste utilisable pendant ce temps.</translation>
    </message>
    <message>
        <source>Reconstruct a folder</source>
        <translation type="unfinished">Reconstruire un dossier</translation>
    </message>
    <message>
        <source>all; or a list such as 0,4,8-20</source>
        <translation type="unfinished">toutes ; ou une liste telle que 0,4,8-20</translation>
    </message>
    <message>
        <source>Try again what has failed before</source>
        <translation type="unfinished">Réessayer ce qui a échoué auparavant</translation>
    </message>
    <message>
        <source>Start</source>
        <translation type="unfinished">Démarrer</translation>
    </message>
    <message>
        <source>Show results</source>
        <translation type="unfinished">Montrer les résultats</translation>
    </message>
    <message>
        <source>Folder with volumes:</source>
        <translation type="unfinished">Dossier des volumes :</translation>
    </message>
    <message>
        <source>Folder for results:</source>
        <translation type="unfinished">Dossier des résultats :</translation>
    </message>
    <message>
        <source>Choose...</source>
        <translation type="unfinished">Choisir...</translation>
    </message>
    <message>
        <source>Slices to use:</source>
        <translation type="unfinished">Coupes à utiliser :</translation>
    </message>
    <message>
        <source>Quality:</source>
        <translation type="unfinished">Qualité :</translation>
    </message>
    <message>
        <source>Choose a folder</source>
        <translation type="unfinished">Choisir un dossier</translation>
    </message>
    <message>
        <source>Choose both folders first.</source>
        <translation type="unfinished">Choisissez d&apos;abord les deux dossiers.</translation>
    </message>
    <message>
        <source>Starting. This window can be closed meanwhile.</source>
        <translation type="unfinished">Démarrage. Cette fenêtre peut être fermée pendant ce temps.</translation>
    </message>
    <message>
        <source>{done} done, {failed} failed, of {total}.</source>
        <translation type="unfinished">{done} terminés, {failed} échoués, sur {total}.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Annuler</translation>
    </message>
</context>
<context>
    <name>panel.further_settings</name>
    <message>
        <source>Of &apos;{name}&apos;:</source>
        <translation type="unfinished">De &apos;{name}&apos; :</translation>
    </message>
    <message>
        <source>Of &apos;{name}&apos;, which is not used unless checked:</source>
        <translation type="unfinished">De &apos;{name}&apos;, qui n&apos;est utilisé que s&apos;il est coché :</translation>
    </message>
</context>
<context>
    <name>panel.further_volumes</name>
    <message>
        <source>Without slices {slices}.</source>
        <translation type="unfinished">Sans les coupes {slices}.</translation>
    </message>
    <message>
        <source>Labels: &apos;{name}&apos;.</source>
        <translation type="unfinished">Étiquettes : &apos;{name}&apos;.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos;: {meaning}</source>
        <translation type="unfinished">&apos;{name}&apos; : {meaning}</translation>
    </message>
</context>
<context>
    <name>panel.input_choice</name>
    <message>
        <source>Lies on other voxels than this volume: it is resampled.</source>
        <translation type="unfinished">Repose sur d&apos;autres voxels que ce volume : elle est rééchantillonnée.</translation>
    </message>
    <message>
        <source>Drawn on &apos;{name}&apos;, not on this volume: it is resampled.</source>
        <translation type="unfinished">Dessinée sur &apos;{name}&apos;, et non sur ce volume : elle est rééchantillonnée.</translation>
    </message>
</context>
<context>
    <name>panel.meaning</name>
    <message>
        <source>The slices on which a chosen segment has a voxel.</source>
        <translation type="unfinished">Les coupes où un segment choisi a un voxel.</translation>
    </message>
</context>
<context>
    <name>panel.next_slice</name>
    <message>
        <source>Draw slice {index} next</source>
        <translation type="unfinished">Dessiner ensuite la coupe {index}</translation>
    </message>
    <message>
        <source>The view {view} shows slice {index}. Draw on it in the Segment Editor, then reconstruct again.</source>
        <translation type="unfinished">La vue {view} montre la coupe {index}. Dessinez-y dans le Segment Editor, puis reconstruisez à nouveau.</translation>
    </message>
    <message>
        <source>The view {view} shows slice {index}. Draw on it in the Segment Editor unless you have, add it to the list under &apos;Labels from&apos;, then reconstruct again.</source>
        <translation type="unfinished">La vue {view} montre la coupe {index}. Dessinez dessus dans le Segment Editor si ce n’est pas fait, ajoutez-la à la liste sous « Étiquettes de », puis reconstruisez à nouveau.</translation>
    </message>
</context>
<context>
    <name>panel.obstacle</name>
    <message>
        <source>Choose an input volume first.</source>
        <translation type="unfinished">Choisissez d&apos;abord un volume d&apos;entrée.</translation>
    </message>
    <message>
        <source>Choose the segmentation that is to be filled.</source>
        <translation type="unfinished">Choisissez la segmentation à compléter.</translation>
    </message>
    <message>
        <source>Check at least one volume in the list &apos;Further volumes of the same body&apos; below.</source>
        <translation type="unfinished">Cochez au moins un volume dans la liste « Autres volumes du même corps » ci-dessous.</translation>
    </message>
    <message>
        <source>Say which slices are bad: show each in a slice view and press &apos;Exclude current slice&apos;, or write their numbers, such as 7,12,20-23.</source>
        <translation type="unfinished">Dites quelles coupes sont mauvaises : affichez chacune dans une vue de coupe et appuyez sur « Exclure la coupe affichée », ou écrivez leurs numéros, par exemple 7,12,20-23.</translation>
    </message>
    <message>
        <source>Check at least one segment.</source>
        <translation type="unfinished">Cochez au moins un segment.</translation>
    </message>
    <message>
        <source>Check at least one segment, or choose no segmentation.</source>
        <translation type="unfinished">Cochez au moins un segment, ou ne choisissez pas de segmentation.</translation>
    </message>
    <message>
        <source>Slices to use</source>
        <translation type="unfinished">Coupes à utiliser</translation>
    </message>
    <message>
        <source>Excluded slices</source>
        <translation type="unfinished">Coupes exclues</translation>
    </message>
    <message>
        <source>Labels from</source>
        <translation type="unfinished">Étiquettes de</translation>
    </message>
    <message>
        <source>Empty slices</source>
        <translation type="unfinished">Coupes vides</translation>
    </message>
    <message>
        <source>No excluded slice lies in the region. Move the region to one, or choose the whole volume.</source>
        <translation type="unfinished">Aucune coupe exclue ne se trouve dans la région. Déplacez-la vers l&apos;une d&apos;elles, ou choisissez le volume entier.</translation>
    </message>
    <message>
        <source>{row}: {reason}</source>
        <translation type="unfinished">{row} : {reason}</translation>
    </message>
</context>
<context>
    <name>panel.packages_button</name>
    <message>
        <source>A reconstruction is running. Wait until it is done.</source>
        <translation type="unfinished">Une reconstruction est en cours. Attendez qu&apos;elle ait fini.</translation>
    </message>
</context>
<context>
    <name>panel.plane_drawing</name>
    <message>
        <source>The plane could not be drawn.</source>
        <translation type="unfinished">Le plan n&apos;a pas pu être dessiné.</translation>
    </message>
    <message>
        <source>The result was removed meanwhile.</source>
        <translation type="unfinished">Le résultat a été retiré entre-temps.</translation>
    </message>
    <message>
        <source>The plane could not be read.</source>
        <translation type="unfinished">Le plan n&apos;a pas pu être lu.</translation>
    </message>
    <message>
        <source>{name} plane</source>
        <translation type="unfinished">Plan de {name}</translation>
    </message>
</context>
<context>
    <name>panel.progress_view</name>
    <message>
        <source>Starting...</source>
        <translation type="unfinished">Démarrage...</translation>
    </message>
    <message>
        <source>{stage}, {time} left</source>
        <translation type="unfinished">{stage}, reste {time}</translation>
    </message>
    <message>
        <source>Cancelling...</source>
        <translation type="unfinished">Annulation...</translation>
    </message>
</context>
<context>
    <name>panel.quality_choice</name>
    <message>
        <source>{quality}: about {time}</source>
        <translation type="unfinished">{quality} : environ {time}</translation>
    </message>
    <message>
        <source>{quality}: about {time}, as a guess</source>
        <translation type="unfinished">{quality} : environ {time}, au jugé</translation>
    </message>
</context>
<context>
    <name>panel.results_view</name>
    <message>
        <source>Nothing has been reconstructed yet.</source>
        <translation type="unfinished">Rien n&apos;a encore été reconstruit.</translation>
    </message>
    <message>
        <source>Drawing...</source>
        <translation type="unfinished">Dessin en cours...</translation>
    </message>
    <message>
        <source>Render plane</source>
        <translation type="unfinished">Dessiner un plan</translation>
    </message>
    <message>
        <source>A plane is being drawn.</source>
        <translation type="unfinished">Un plan est en cours de dessin.</translation>
    </message>
    <message>
        <source>Compare</source>
        <translation type="unfinished">Comparer</translation>
    </message>
    <message>
        <source>Leave Compare</source>
        <translation type="unfinished">Quitter la comparaison</translation>
    </message>
    <message>
        <source>Table</source>
        <translation type="unfinished">Tableau</translation>
    </message>
    <message>
        <source>Hide table</source>
        <translation type="unfinished">Masquer le tableau</translation>
    </message>
    <message>
        <source>Plot</source>
        <translation type="unfinished">Graphique</translation>
    </message>
    <message>
        <source>Hide plot</source>
        <translation type="unfinished">Masquer le graphique</translation>
    </message>
    <message>
        <source>Hide certainty</source>
        <translation type="unfinished">Masquer la certitude</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Montrer la certitude</translation>
    </message>
    <message>
        <source>The model is not there any more. Reconstruct again, and export it before Slicer is closed.</source>
        <translation type="unfinished">Le modèle n&apos;est plus là. Reconstruisez à nouveau, et exportez-le avant de fermer Slicer.</translation>
    </message>
    <message>
        <source>The model could not be written to {path}: {reason}.</source>
        <translation type="unfinished">Le modèle n&apos;a pas pu être écrit dans {path} : {reason}.</translation>
    </message>
    <message>
        <source>Result of a volume that is not in the scene any more.</source>
        <translation type="unfinished">Résultat d&apos;un volume qui n&apos;est plus dans la scène.</translation>
    </message>
    <message>
        <source>Result of another volume: &apos;{volume}&apos;.</source>
        <translation type="unfinished">Résultat d&apos;un autre volume : &apos;{volume}&apos;.</translation>
    </message>
    <message>
        <source>Result of &apos;{volume}&apos; with {others}:</source>
        <translation type="unfinished">Résultat de &apos;{volume}&apos; avec {others} :</translation>
    </message>
    <message>
        <source>Result of &apos;{volume}&apos;:</source>
        <translation type="unfinished">Résultat de &apos;{volume}&apos; :</translation>
    </message>
    <message>
        <source>Expected error: {error} on average, in units of the volume.</source>
        <translation type="unfinished">Erreur attendue : {error} en moyenne, en unités du volume.</translation>
    </message>
    <message>
        <source>Nothing was predicted: every slice of the result is one that was used.</source>
        <translation type="unfinished">Rien n’a été prédit : chaque coupe du résultat est une coupe utilisée.</translation>
    </message>
    <message>
        <source>No slice view is shown, whose plane could be drawn. Choose a layout with one.</source>
        <translation type="unfinished">Aucune vue de coupe n’est affichée, dont le plan pourrait être dessiné. Choisissez une disposition qui en a une.</translation>
    </message>
    <message>
        <source>Export model</source>
        <translation type="unfinished">Exporter le modèle</translation>
    </message>
    <message>
        <source>Models (*.safetensors)</source>
        <translation type="unfinished">Modèles (*.safetensors)</translation>
    </message>
</context>
<context>
    <name>panel.show_3d</name>
    <message>
        <source>Hide 3D</source>
        <translation type="unfinished">Masquer la 3D</translation>
    </message>
    <message>
        <source>Show 3D</source>
        <translation type="unfinished">Montrer en 3D</translation>
    </message>
    <message>
        <source>Show the filled segmentation in the 3D view, or hide it there.</source>
        <translation type="unfinished">Montre la segmentation complétée dans la vue 3D, ou l&apos;y masque.</translation>
    </message>
    <message>
        <source>3D: {done} of {count}...</source>
        <translation type="unfinished">3D : {done} sur {count}...</translation>
    </message>
    <message>
        <source>The surfaces of the segments are being made. Press to stop.</source>
        <translation type="unfinished">Les surfaces des segments sont en cours de création. Appuyez pour arrêter.</translation>
    </message>
</context>
<context>
    <name>panel.slice_views</name>
    <message>
        <source>The slice view {view} does not show the volume. Scroll to the slice first.</source>
        <translation type="unfinished">La vue {view} ne montre pas le volume. Allez d&apos;abord à la coupe.</translation>
    </message>
    <message>
        <source>No slice view shows slices along axis {axis}. Choose a layout with such a view.</source>
        <translation type="unfinished">Aucune vue ne montre de coupes le long de l&apos;axe {axis}. Choisissez une disposition avec une telle vue.</translation>
    </message>
</context>
<context>
    <name>panel.task_choice</name>
    <message>
        <source>Automatic: {task}</source>
        <translation type="unfinished">Automatique : {task}</translation>
    </message>
    <message>
        <source>Segmentation:</source>
        <translation type="unfinished">Segmentation :</translation>
    </message>
    <message>
        <source>Segmentation (optional):</source>
        <translation type="unfinished">Segmentation (facultative) :</translation>
    </message>
</context>
<context>
    <name>panel.views</name>
    <message>
        <source>Labels in doubt on each slice</source>
        <translation type="unfinished">Étiquettes douteuses de chaque coupe</translation>
    </message>
    <message>
        <source>Expected error of each slice</source>
        <translation type="unfinished">Erreur attendue de chaque coupe</translation>
    </message>
    <message>
        <source>Slice of the input</source>
        <translation type="unfinished">Coupe de l&apos;entrée</translation>
    </message>
    <message>
        <source>Voxels in doubt</source>
        <translation type="unfinished">Voxels douteux</translation>
    </message>
    <message>
        <source>Expected error</source>
        <translation type="unfinished">Erreur attendue</translation>
    </message>
    <message>
        <source>Input</source>
        <translation type="unfinished">Entrée</translation>
    </message>
    <message>
        <source>Certainty</source>
        <translation type="unfinished">Certitude</translation>
    </message>
    <message>
        <source>Result</source>
        <translation type="unfinished">Résultat</translation>
    </message>
    <message>
        <source>Error</source>
        <translation type="unfinished">Erreur</translation>
    </message>
</context>
<context>
    <name>panel.widget</name>
    <message>
        <source>Choose an input volume first.</source>
        <translation type="unfinished">Choisissez d&apos;abord un volume d&apos;entrée.</translation>
    </message>
    <message>
        <source>Looking where the segmentation is drawn...</source>
        <translation type="unfinished">Recherche où la segmentation est dessinée...</translation>
    </message>
    <message>
        <source>Reconstruct</source>
        <translation type="unfinished">Reconstruire</translation>
    </message>
    <message>
        <source>A reconstruction that was started elsewhere, such as in the Python console, is running. Wait until it is done.</source>
        <translation type="unfinished">Une reconstruction démarrée ailleurs, par exemple dans la console Python, est en cours. Attendez qu&apos;elle ait fini.</translation>
    </message>
    <message>
        <source>Fill in what is missing between the used slices.</source>
        <translation type="unfinished">Complète ce qui manque entre les coupes utilisées.</translation>
    </message>
    <message>
        <source>Cancelling...</source>
        <translation type="unfinished">Annulation...</translation>
    </message>
    <message>
        <source>It ends within two seconds.</source>
        <translation type="unfinished">Cela s&apos;arrête en moins de deux secondes.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Annuler</translation>
    </message>
    <message>
        <source>Stop. The scene stays as it is.</source>
        <translation type="unfinished">Arrête. La scène reste comme elle est.</translation>
    </message>
    <message>
        <source>Python packages are missing, without which nothing can be reconstructed.</source>
        <translation type="unfinished">Il manque des paquets Python, sans lesquels rien ne peut être reconstruit.</translation>
    </message>
    <message>
        <source>Done in {time}.</source>
        <translation type="unfinished">Terminé en {time}.</translation>
    </message>
    <message>
        <source>Cancelled. The scene is as it was.</source>
        <translation type="unfinished">Annulé. La scène est comme elle était.</translation>
    </message>
    <message>
        <source>Slice {index}, which the view {view} shows, is excluded.</source>
        <translation type="unfinished">La coupe {index}, que montre la vue {view}, est exclue.</translation>
    </message>
    <message>
        <source>Slice {index}, which the view {view} shows, counts as empty, or as fully drawn if something is drawn on it.</source>
        <translation type="unfinished">La coupe {index}, que montre la vue {view}, compte comme vide, ou comme entièrement dessinée si quelque chose y est dessiné.</translation>
    </message>
    <message>
        <source>The view {view} was turned to the slices. It shows slice {index}: press again if that is the one.</source>
        <translation type="unfinished">La vue {view} a été tournée vers les coupes. Elle montre la coupe {index} : appuyez encore une fois si c&apos;est la bonne.</translation>
    </message>
    <message>
        <source>{name} is loaded. Press Reconstruct.</source>
        <translation type="unfinished">{name} est chargé. Appuyez sur Reconstruire.</translation>
    </message>
    <message>
        <source>The plane is shown, and was added as &apos;{name}&apos;.</source>
        <translation type="unfinished">Le plan est montré et a été ajouté sous le nom &apos;{name}&apos;.</translation>
    </message>
    <message>
        <source>Reconstruction: {text}</source>
        <translation type="unfinished">Reconstruction : {text}</translation>
    </message>
</context>
<context>
    <name>qSlicerAbstractCoreModule</name>
    <message>
        <source>Tomographic Reconstruction</source>
        <translation type="unfinished">Reconstruction tomographique</translation>
    </message>
</context>
<context>
    <name>run.folder</name>
    <message>
        <source>Cancelled. What is done stays; start again to go on.</source>
        <translation type="unfinished">Annulé. Ce qui est fait reste ; démarrez à nouveau pour continuer.</translation>
    </message>
    <message>
        <source>The results would lie among the volumes. Choose another folder for them.</source>
        <translation type="unfinished">Les résultats se trouveraient parmi les volumes. Choisissez un autre dossier pour eux.</translation>
    </message>
    <message>
        <source>The folder &apos;{folder}&apos; cannot be made: {cause}. Choose another one.</source>
        <translation type="unfinished">Le dossier &apos;{folder}&apos; ne peut pas être créé : {cause}. Choisissez-en un autre.</translation>
    </message>
    <message>
        <source>The folder &apos;{folder}&apos; cannot be read: {cause}. Choose one with volumes.</source>
        <translation type="unfinished">Le dossier &apos;{folder}&apos; ne peut pas être lu : {cause}. Choisissez-en un avec des volumes.</translation>
    </message>
    <message>
        <source>In &apos;{folder}&apos; there is no volume ({extensions}).</source>
        <translation type="unfinished">Il n&apos;y a pas de volume dans &apos;{folder}&apos; ({extensions}).</translation>
    </message>
</context>
<context>
    <name>run.further_settings</name>
    <message>
        <source>Of a further volume there is no choice &apos;{name}&apos;. Choose of {known}.</source>
        <translation type="unfinished">Pour un autre volume il n&apos;y a pas de choix &apos;{name}&apos;. Choisissez parmi {known}.</translation>
    </message>
</context>
<context>
    <name>run.logic</name>
    <message>
        <source>The module was closed.</source>
        <translation type="unfinished">Le module a été fermé.</translation>
    </message>
    <message>
        <source>A reconstruction is running already. Wait until it is done, or cancel it.</source>
        <translation type="unfinished">Une reconstruction est déjà en cours. Attendez qu&apos;elle ait fini, ou annulez-la.</translation>
    </message>
</context>
<context>
    <name>run.parameters</name>
    <message>
        <source>Automatic (thickest slices)</source>
        <translation type="unfinished">Automatique (coupes les plus épaisses)</translation>
    </message>
    <message>
        <source>I (columns)</source>
        <translation type="unfinished">I (colonnes)</translation>
    </message>
    <message>
        <source>J (rows)</source>
        <translation type="unfinished">J (lignes)</translation>
    </message>
    <message>
        <source>K (slices)</source>
        <translation type="unfinished">K (coupes)</translation>
    </message>
    <message>
        <source>All slices</source>
        <translation type="unfinished">Toutes les coupes</translation>
    </message>
    <message>
        <source>Every Nth slice</source>
        <translation type="unfinished">Une coupe sur N</translation>
    </message>
    <message>
        <source>A percentage</source>
        <translation type="unfinished">Un pourcentage</translation>
    </message>
    <message>
        <source>Slices that carry segmentation</source>
        <translation type="unfinished">Coupes qui portent la segmentation</translation>
    </message>
    <message>
        <source>A list of slices</source>
        <translation type="unfinished">Une liste de coupes</translation>
    </message>
    <message>
        <source>Drawn slices</source>
        <translation type="unfinished">Coupes dessinées</translation>
    </message>
    <message>
        <source>Gaussian</source>
        <translation type="unfinished">Gaussien</translation>
    </message>
    <message>
        <source>Box</source>
        <translation type="unfinished">Rectangle</translation>
    </message>
</context>
<context>
    <name>run.process</name>
    <message>
        <source>A job is running already. Cancel it, or wait until it has ended.</source>
        <translation type="unfinished">Un calcul est déjà en cours. Annulez-le, ou attendez qu&apos;il ait fini.</translation>
    </message>
    <message>
        <source>The system ended the process, most likely because memory ran out. Close other programs, crop the volume, or choose a larger slice spacing or the quality Fast.</source>
        <translation type="unfinished">Le système a mis fin au processus, sans doute faute de mémoire. Fermez d&apos;autres programmes, recadrez le volume, ou choisissez un plus grand espacement des coupes ou la qualité Rapide.</translation>
    </message>
    <message>
        <source>The process ended before it was done (exit code {code}). Often memory has run out: close other programs, or crop the volume. The details may tell more.</source>
        <translation type="unfinished">Le processus s&apos;est arrêté avant la fin (code {code}). Souvent la mémoire a manqué : fermez d&apos;autres programmes, ou recadrez le volume. Les détails en disent peut-être plus.</translation>
    </message>
</context>
<context>
    <name>run.python_process</name>
    <message>
        <source>{name}, which belongs to 3D Slicer, was not found. Install 3D Slicer again.</source>
        <translation type="unfinished">{name}, qui fait partie de 3D Slicer, n&apos;a pas été trouvé. Réinstallez 3D Slicer.</translation>
    </message>
    <message>
        <source>Python could not be started: {reason}. Close other programs, or install 3D Slicer again.</source>
        <translation type="unfinished">Python n&apos;a pas pu être démarré : {reason}. Fermez d&apos;autres programmes, ou réinstallez 3D Slicer.</translation>
    </message>
    <message>
        <source>The process crashed. Choose another device, or crop the volume; the details may tell why.</source>
        <translation type="unfinished">Le processus a planté. Choisissez un autre appareil, ou recadrez le volume ; les détails disent peut-être pourquoi.</translation>
    </message>
</context>
<context>
    <name>run.reconstruction</name>
    <message>
        <source>The reconstruction was cancelled.</source>
        <translation type="unfinished">La reconstruction a été annulée.</translation>
    </message>
    <message>
        <source>Frame {number} (counted from 0): {cause}</source>
        <translation type="unfinished">Image {number} (à partir de 0) : {cause}</translation>
    </message>
    <message>
        <source>The input was modified while it was being reconstructed: the result belongs to the state in which it was before.</source>
        <translation type="unfinished">L&apos;entrée a été modifiée pendant la reconstruction : le résultat correspond à l&apos;état où elle était avant.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was removed from the scene before the reconstruction was done, so there is no result.</source>
        <translation type="unfinished">&apos;{name}&apos; a été retiré de la scène avant la fin de la reconstruction ; il n&apos;y a donc pas de résultat.</translation>
    </message>
    <message>
        <source>The scene was closed before the reconstruction was done, so there is no result.</source>
        <translation type="unfinished">La scène a été fermée avant la fin de la reconstruction ; il n&apos;y a donc pas de résultat.</translation>
    </message>
    <message>
        <source>Nothing can be written to the folder for temporary files &apos;{folder}&apos;: {cause}. Choose another one in the application settings.</source>
        <translation type="unfinished">Rien ne peut être écrit dans le dossier des fichiers temporaires &apos;{folder}&apos; : {cause}. Choisissez-en un autre dans les réglages de l&apos;application.</translation>
    </message>
</context>
<context>
    <name>run.request</name>
    <message>
        <source>Cannot read the slices {slices}. Write their numbers, such as [0, 4, 8] or range(0, 20, 4), or a text such as &apos;0,4,8-20&apos;.</source>
        <translation type="unfinished">Les coupes {slices} ne peuvent pas être lues. Écrivez leurs numéros, par exemple [0, 4, 8] ou range(0, 20, 4), ou un texte tel que &apos;0,4,8-20&apos;.</translation>
    </message>
    <message>
        <source>The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it to the program, not {spacing}.</source>
        <translation type="unfinished">L&apos;espacement du résultat doit être un nombre positif de millimètres tel que 1.5, ou 0 pour le laisser au programme, pas {spacing}.</translation>
    </message>
    <message>
        <source>The seed must be a whole number such as 1, not {seed}.</source>
        <translation type="unfinished">La graine doit être un nombre entier tel que 1, pas {seed}.</translation>
    </message>
    <message>
        <source>The memory that may be used must be a number of GB such as 6, or 0 for what is free, not {memory}.</source>
        <translation type="unfinished">La mémoire permise doit être un nombre de Go tel que 6, ou 0 pour ce qui est libre, pas {memory}.</translation>
    </message>
    <message>
        <source>The number of threads must be a whole number such as 4, or 0 for as many as there are, not {threads}.</source>
        <translation type="unfinished">Le nombre de fils doit être un nombre entier tel que 4, ou 0 pour autant qu&apos;il y en a, pas {threads}.</translation>
    </message>
</context>
<context>
    <name>run.several</name>
    <message>
        <source>&apos;{name}&apos; is given twice. Choose other further volumes.</source>
        <translation type="unfinished">&apos;{name}&apos; est donné deux fois. Choisissez d&apos;autres volumes.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; shows a sequence. Several volumes are reconstructed only where each is a single one: choose a copy of a frame.</source>
        <translation type="unfinished">&apos;{name}&apos; montre une séquence. Plusieurs volumes ne sont reconstruits que si chacun est seul : choisissez la copie d&apos;une image.</translation>
    </message>
    <message>
        <source>Unknown slice profile &apos;{profile}&apos;. Choose one of {known}.</source>
        <translation type="unfinished">Profil de coupe inconnu &apos;{profile}&apos;. Choisissez-en un parmi {known}.</translation>
    </message>
    <message>
        <source>An even texture does not go with further volumes. Uncheck one of both.</source>
        <translation type="unfinished">Une texture uniforme ne va pas avec d&apos;autres volumes. Décochez l&apos;un des deux.</translation>
    </message>
    <message>
        <source>A region does not go with further volumes. Choose the whole volume, or crop all of them in the module &apos;Crop Volume&apos;.</source>
        <translation type="unfinished">Une région ne va pas avec d&apos;autres volumes. Choisissez tout le volume, ou recadrez-les tous dans le module &apos;Crop Volume&apos;.</translation>
    </message>
    <message>
        <source>Used slices cannot stay as they are where volumes are combined, since the result has voxels of its own. Leave the further volumes out, or &apos;keepUsedSlices&apos;.</source>
        <translation type="unfinished">Les coupes utilisées ne peuvent rester telles quelles là où des volumes sont combinés, car le résultat a ses propres voxels. Laissez de côté les autres volumes, ou &apos;keepUsedSlices&apos;.</translation>
    </message>
    <message>
        <source>The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it to the program, not {spacing}.</source>
        <translation type="unfinished">L&apos;espacement du résultat doit être un nombre positif de millimètres tel que 1.5, ou 0 pour le laisser au programme, pas {spacing}.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos;: {cause}</source>
        <translation type="unfinished">&apos;{name}&apos; : {cause}</translation>
    </message>
    <message>
        <source>Cannot read the slice thickness &apos;{thickness}&apos;. Give one number of millimetres for all volumes, or {count} with commas between them, one for each; 0 for the slice distance.</source>
        <translation type="unfinished">L&apos;épaisseur de coupe &apos;{thickness}&apos; ne peut pas être lue. Donnez un nombre de millimètres pour tous les volumes, ou {count} séparés par des virgules, un pour chacun ; 0 pour la distance entre coupes.</translation>
    </message>
</context>
<context>
    <name>run.surfaces</name>
    <message>
        <source>The surfaces are not made any more.</source>
        <translation type="unfinished">Les surfaces ne sont plus créées.</translation>
    </message>
    <message>
        <source>The segmentation was removed meanwhile.</source>
        <translation type="unfinished">La segmentation a été retirée entre-temps.</translation>
    </message>
    <message>
        <source>The surfaces could not be made.</source>
        <translation type="unfinished">Les surfaces n&apos;ont pas pu être créées.</translation>
    </message>
</context>
<context>
    <name>run.task</name>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatique</translation>
    </message>
    <message>
        <source>Make slices thinner</source>
        <translation type="unfinished">Amincir les coupes</translation>
    </message>
    <message>
        <source>Replace bad slices</source>
        <translation type="unfinished">Remplacer les mauvaises coupes</translation>
    </message>
    <message>
        <source>Fill a segmentation</source>
        <translation type="unfinished">Compléter une segmentation</translation>
    </message>
    <message>
        <source>Combine volumes</source>
        <translation type="unfinished">Combiner des volumes</translation>
    </message>
</context>
<context>
    <name>scene.chosen_nodes</name>
    <message>
        <source>All frames of a sequence become a new sequence. Choose no output volume and no output segmentation, or reconstruct the frame that is shown alone.</source>
        <translation type="unfinished">Toutes les images d&apos;une séquence deviennent une nouvelle séquence. Ne choisissez ni volume ni segmentation de sortie, ou reconstruisez seulement l&apos;image affichée.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is an input, which is never changed. Choose another node for the output, or none, so that a new one is made.</source>
        <translation type="unfinished">&apos;{name}&apos; est une entrée, qui n&apos;est jamais modifiée. Choisissez autre chose pour la sortie, ou rien, pour qu&apos;un nouveau nœud soit créé.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; cannot take the output: it is a {kind}. Choose a scalar volume for the volume, and a segmentation for the segmentation.</source>
        <translation type="unfinished">&apos;{name}&apos; ne peut pas recevoir la sortie : c&apos;est {kind}. Choisissez un volume scalaire pour le volume, et une segmentation pour la segmentation.</translation>
    </message>
    <message>
        <source>There is no segmentation to be filled, so nothing would come into &apos;{name}&apos;. Choose one as input, or no output segmentation.</source>
        <translation type="unfinished">Il n&apos;y a pas de segmentation à compléter, donc rien n&apos;irait dans &apos;{name}&apos;. Choisissez-en une en entrée, ou aucune en sortie.</translation>
    </message>
</context>
<context>
    <name>scene.further_volumes</name>
    <message>
        <source>&apos;{name}&apos; lies under a transform against &apos;{first}&apos; that is not linear. Take it out of that transform, put both under it, or harden it: in the Data module, right-click and &apos;Harden transform&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; est sous une transformation par rapport à &apos;{first}&apos; qui n&apos;est pas linéaire. Retirez-le de cette transformation, mettez-y les deux, ou appliquez-la : dans le module Data, clic droit et &apos;Harden transform&apos;.</translation>
    </message>
</context>
<context>
    <name>scene.nodes</name>
    <message>
        <source>&apos;{name}&apos; is not a segmentation. Convert it to one: right-click it in the Data module, for a label map &apos;Convert labelmap to segmentation node&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; n&apos;est pas une segmentation. Convertissez-le : dans le module Data, clic droit, pour une carte d&apos;étiquettes &apos;Convert labelmap to segmentation node&apos;.</translation>
    </message>
    <message>
        <source>The segmentation &apos;{name}&apos; has no segment with the id &apos;{segment}&apos;. Its segments are {known}.</source>
        <translation type="unfinished">La segmentation &apos;{name}&apos; n&apos;a pas de segment d&apos;identifiant &apos;{segment}&apos;. Ses segments sont {known}.</translation>
    </message>
    <message>
        <source>none</source>
        <translation type="unfinished">aucune</translation>
    </message>
    <message>
        <source>No segment of &apos;{name}&apos; is chosen. Choose at least one, or leave the segmentation out.</source>
        <translation type="unfinished">Aucun segment de &apos;{name}&apos; n&apos;est choisi. Choisissez-en au moins un, ou laissez la segmentation de côté.</translation>
    </message>
    <message>
        <source>None of the chosen segments of &apos;{name}&apos; has a voxel in the volume. Choose the segmentation that belongs to it, or segment at least two slices.</source>
        <translation type="unfinished">Aucun des segments choisis de &apos;{name}&apos; n&apos;a de voxel dans le volume. Choisissez la segmentation qui lui correspond, ou segmentez au moins deux coupes.</translation>
    </message>
    <message>
        <source>The segmentation lies on other voxels than the volume and was resampled to them.</source>
        <translation type="unfinished">La segmentation est sur d&apos;autres voxels que le volume et a été rééchantillonnée sur ceux-ci.</translation>
    </message>
    <message>
        <source>Without a voxel in the volume, and so left out: {segments}.</source>
        <translation type="unfinished">Sans voxel dans le volume, et donc laissés de côté : {segments}.</translation>
    </message>
    <message>
        <source>There is no volume. Choose one.</source>
        <translation type="unfinished">Il n&apos;y a pas de volume. Choisissez-en un.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is a label map, not an image. Choose an image as the volume; give the labels as a segmentation: in the Data module, right-click and &apos;Convert labelmap to segmentation node&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; est une carte d&apos;étiquettes, pas une image. Choisissez une image comme volume ; donnez les étiquettes comme segmentation : dans le module Data, clic droit et &apos;Convert labelmap to segmentation node&apos;.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is not a scalar volume. Choose a volume with one value a voxel.</source>
        <translation type="unfinished">&apos;{name}&apos; n&apos;est pas un volume scalaire. Choisissez un volume avec une valeur par voxel.</translation>
    </message>
    <message>
        <source>The volume &apos;{name}&apos; has no voxels. Load its image, or choose another volume.</source>
        <translation type="unfinished">Le volume &apos;{name}&apos; n&apos;a pas de voxels. Chargez son image, ou choisissez un autre volume.</translation>
    </message>
    <message>
        <source>The volume &apos;{name}&apos; has {number} values a voxel: it is in colour, or holds vectors or several frames. Make a scalar volume of it with the module &apos;Vector to Scalar Volume&apos;, or load its frames as a sequence.</source>
        <translation type="unfinished">Le volume &apos;{name}&apos; a {number} valeurs par voxel : il est en couleur, ou contient des vecteurs ou plusieurs images. Faites-en un volume scalaire avec le module &apos;Vector to Scalar Volume&apos;, ou chargez ses images comme séquence.</translation>
    </message>
</context>
<context>
    <name>scene.region</name>
    <message>
        <source>The region &apos;{name}&apos; has no size yet. Draw it in a view, or choose another one.</source>
        <translation type="unfinished">La région &apos;{name}&apos; n&apos;a pas encore de taille. Dessinez-la dans une vue, ou choisissez-en une autre.</translation>
    </message>
</context>
<context>
    <name>scene.sample_data</name>
    <message>
        <source>There is no sample &apos;{name}&apos;. Choose one of {known}.</source>
        <translation type="unfinished">Il n&apos;y a pas d&apos;exemple &apos;{name}&apos;. Choisissez-en un parmi {known}.</translation>
    </message>
    <message>
        <source>The sample &apos;{name}&apos; could not be loaded. It is downloaded from {address}: connect to the internet and try again; the reason stands in the Python console.</source>
        <translation type="unfinished">L&apos;exemple &apos;{name}&apos; n&apos;a pas pu être chargé. Il est téléchargé depuis {address} : connectez-vous à Internet et réessayez ; la raison est dans la console Python.</translation>
    </message>
</context>
</TS>
